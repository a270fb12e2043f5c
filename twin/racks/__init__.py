"""The site at every scale: long runs in spans, and racks, units and chips behind a run."""
