"""What the commands print: a page each, made of what was found."""
