"""Live state of a site: latest values, recent means, racks and jobs."""
