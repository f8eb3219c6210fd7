"""The use cases. Knows ports only."""
