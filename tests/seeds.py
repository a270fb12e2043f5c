"""Random seeds of a test: a few that `./dev test` runs, and the others, which CI runs too."""

from collections.abc import Iterable

import pytest


def seeds(every: Iterable[int], *, quick: int = 2) -> list[object]:
    """Return the seeds as parameters, all after the first quick ones marked as slow."""
    return [
        pytest.param(seed, marks=() if place < quick else pytest.mark.slow)
        for place, seed in enumerate(every)
    ]
