"""One file per public API shape: `Dialect` and `Encoder`."""
