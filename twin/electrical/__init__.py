"""The medium-voltage network of a site: declared, in flow, and after the loss of a unit."""
