"""A site that is heard by a process a shard, and archived by one."""
