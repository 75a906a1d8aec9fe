"""What `export` writes: a row of the table for each kind, and what makes it."""
