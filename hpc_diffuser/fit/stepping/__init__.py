"""What least squares steps by: the map's slopes, the objective linearised and its gradient."""
