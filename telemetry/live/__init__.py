"""What the window is made of: the present, the recent past, racks, and news of the cluster."""
