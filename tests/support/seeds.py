"""Random seeds of a test: `./dev test` runs a few, CI runs all."""

from collections.abc import Iterable

import pytest


def seeds(every: Iterable[int], *, quick: int = 2) -> list[object]:
    """Return the seeds as parameters, all after the first quick ones marked as slow."""
    return [
        pytest.param(seed, marks=() if place < quick else pytest.mark.slow)
        for place, seed in enumerate(every)
    ]
