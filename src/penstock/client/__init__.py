"""Reading streams from a program."""
