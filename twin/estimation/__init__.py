"""The observer of one stock: what its sensor and its model are worth, learned while they run."""
