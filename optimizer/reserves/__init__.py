"""Reserve capacity: what is paid and sold, what a plan offers, bids, and what is told of it."""
