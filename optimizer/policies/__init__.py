"""Rules and bounds that a plan is compared with, and what they do with heat, sun and wind."""
