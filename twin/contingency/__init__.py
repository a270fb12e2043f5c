"""Single failures of machines: which there are, and how long a site rides through each."""
