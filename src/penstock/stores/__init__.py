"""What is kept besides streams, each kind behind a port of `core.stores`."""
