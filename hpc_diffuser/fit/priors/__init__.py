"""What is known of the parameters beside the map, and how much it counts."""
