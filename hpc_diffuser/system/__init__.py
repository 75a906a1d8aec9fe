"""What every part of the program stands on: errors, signals, streams, memory, safe files."""
