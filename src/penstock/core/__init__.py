"""The nouns of Penstock. No I/O, no clock, no logging."""
