"""Feed to grid partners: signed schedules, their acknowledgements, and load targets."""
