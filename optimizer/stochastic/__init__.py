"""Planning under uncertainty: scenarios, two-stage programme, and decisions."""
