"""One file or folder per stream log."""
