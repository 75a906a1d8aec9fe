"""What `doctor` looks at, by where the trouble lies: this process, the ranks, the files."""
