"""Nothing: its import is what does it."""
