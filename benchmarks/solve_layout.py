"""The rows and columns of a model written by hand, as they are counted, and their matrix."""

from collections import defaultdict

import numpy as np

BEHIND = 10**9
"""Where rows of balances are counted from until all others are known."""


class Layout:
    """Positions of rows and columns by step, and what stands where they meet."""

    def __init__(self, steps):
        self.steps = steps
        self.columns = self.rows = 0
        self.moves = []  # "column" or "row", and its positions by step
        self.balance = defaultdict(self._balance)
        self._balances = 0  # their rows stand behind all others
        self._parts = []  # rows, columns and what to write there

    def column(self, *shape):
        at = self.columns + np.arange(int(np.prod(shape))).reshape(shape)
        self.columns += at.size
        self.moves.append(("column", at))
        return at

    def row(self, *shape):
        at = self.rows + np.arange(int(np.prod(shape))).reshape(shape)
        self.rows += at.size
        self.moves.append(("row", at))
        return at

    def _balance(self):
        self._balances += self.steps
        return BEHIND + np.arange(self._balances - self.steps, self._balances)

    def add(self, rows, columns, given):
        """Put a number where rows and columns meet; a name stands for an array of the question."""
        self._parts.append((rows, columns, given))

    def close(self):
        """Set the balances behind all other rows, and lay out the matrix by rows."""
        behind = self.rows
        parts = [
            (np.where(rows >= BEHIND, rows - BEHIND + behind, rows), columns, given)
            for rows, columns, given in self._parts
        ]
        for carrier, at in self.balance.items():
            self.balance[carrier] = at - BEHIND + behind
            self.moves.append(("row", self.balance[carrier]))
        self.rows += self._balances
        pairs = [np.broadcast_arrays(r, c) for r, c, _ in parts]
        rows = np.concatenate([r.ravel() for r, _ in pairs])
        cols = np.concatenate([c.ravel() for _, c in pairs])
        order = np.lexsort((cols, rows))
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        self.value = np.zeros(len(order))
        self.index = cols[order].astype(np.int32)
        self.start = np.searchsorted(rows[order], np.arange(self.rows + 1)).astype(np.int32)
        self.feeds, begun = [], 0
        for r, c, given in parts:
            shape = np.broadcast(r, c).shape
            at = place[begun : begun + int(np.prod(shape))].reshape(shape)
            begun += at.size
            if isinstance(given, str):
                self.feeds.append((at, given))
            else:
                self.value[at] = given

    def sources(self, sort, count):
        """Return where each row or column was one interval later in the last window."""
        found = np.arange(count)
        for of, at in self.moves:
            if of == sort and len(at) >= self.steps - 1:
                found[at[:-1]] = at[1:]
        return found
