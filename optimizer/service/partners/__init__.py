"""The service's side of grid partners: documents out, targets in, and the record of both."""
