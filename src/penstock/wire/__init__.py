"""Bytes to values and back. No I/O; shared by server and client."""
