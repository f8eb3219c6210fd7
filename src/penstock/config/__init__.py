"""What `config.toml` may say, where it lies, and how it is read."""
