"""The Python interface: what a fit reads and leaves, opened as plain objects. Reads only."""
