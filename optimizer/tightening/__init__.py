"""How a linear plan is kept to physics where it would waste."""
