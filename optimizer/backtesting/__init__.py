"""Back-tests: policies in closed loop on a plant of another nature, settled alike, and kept."""
