"""How sure an answer is: the objective's bend, and zones of the data drawn anew."""
