"""What stands behind reserves that are sold: power, energy, and how long they last."""
