"""What a plant says of its points, and what in the twin each of them means."""
