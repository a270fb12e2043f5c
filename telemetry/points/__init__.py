"""Points of a site: what they mean, which values are plausible, and who announces them."""
