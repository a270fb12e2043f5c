"""Operating ranges and convex piecewise linear curves."""
