"""Who speaks for a simulated site: its building management, its racks, and its scheduler."""
