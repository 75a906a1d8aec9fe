"""`init`: what the files are, what follows from them for a config, and which commands come next."""
