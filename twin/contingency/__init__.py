"""What happens when one machine fails: which failures there are, and how long a site endures."""
