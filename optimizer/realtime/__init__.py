"""Between two plans: which jobs run, what the site leaves for them, and who keeps the peak."""
