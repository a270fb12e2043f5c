"""Random seeds of a test: `./dev test` runs a few, CI runs most, and `.ci/long` the rest."""

from collections.abc import Iterable

import pytest


def seeds(every: Iterable[int], *, quick: int = 2, usual: int = 100) -> list[object]:
    """Return the seeds as parameters: the first quick ones are fast, the first usual ones slow.

    All after them are long.
    """

    def marks(place: int) -> object:
        if place < quick:
            return ()
        return pytest.mark.slow if place < usual else pytest.mark.long

    return [pytest.param(seed, marks=marks(place)) for place, seed in enumerate(every)]
