"""A run on disk: its directory, its lock, its checkpoints, its jobs."""
