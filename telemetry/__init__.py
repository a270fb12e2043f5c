"""Everything on the wire and in the archive."""
