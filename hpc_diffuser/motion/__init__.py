"""How molecules move: modes, ensembles, disorder, and the random numbers that draw them."""
