"""From a relation to its Pyomo block, one form a file."""
