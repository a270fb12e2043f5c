"""Planning for a fleet of sites that exchange movable work, coordinated by prices."""
