"""Pictures that come in are looked at first. Loaded only where pictures are made."""
