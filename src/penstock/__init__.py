"""Penstock: a streaming gateway in which every generation is a durable log."""
