"""Whether readings may be believed: bands, mixed-up units, stamps, strangers."""
