"""Examples that are built in."""
