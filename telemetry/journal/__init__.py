"""How the journal lies on disk, who follows it, and what of each source is durable."""
