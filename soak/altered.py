"""Altered sites: a day of plans on a plant, and no limit may be broken.

Each seed draws what somebody changed in the file of a declared site
(:mod:`tests.support.altered_sites`), a day, its prices and weather, and the amount of work. Plans
are made as in a back-test, and a plant that differs from the model follows them.
"""

from collections.abc import Callable

import numpy as np

from optimizer.backtesting.case import BacktestCase
from soak import judging
from soak.replay import DAYS, month, world_of
from tests.support.altered_sites import altered
from twin.forecast.series_record import series_history

COUNT = 25
"""Sites of a run by default. [1]"""

HOURS = 24
"""Hours of a back-test. [h]"""

LOADS = (0.4, 0.6, 0.75, 0.85)
"""Mean movable work, one of which is drawn. [1]"""


def run(count: int, *, seed: int, say: Callable[[str], None]) -> dict[str, object]:
    """Run back-tests of some sites; each has a seed of its own."""

    def reported(number: int) -> tuple[str, str]:
        breaches, fated = violations(number)
        if breaches:
            site, done = altered(number)
            say(f"seed {number} is {site.name}, altered: {', '.join(done)}")
        return breaches, fated

    return judging.counted(count, reported, seed=seed, say=say)


def violations(seed: int) -> tuple[str, str]:
    """Return the limits that a plant breaks in a day, in words.

    Parameters
    ----------
    seed
        Of everything.

    Returns
    -------
    tuple
        As :func:`soak.judging.violations` does.
    """
    return judging.violations(setting(seed), seed=seed)


def setting(seed: int) -> BacktestCase:
    """Return an altered site in a random day of a synthetic month."""
    site, _ = altered(seed)
    rng = np.random.default_rng([seed, 12])
    start = np.datetime64("2026-06-01", "us") + np.timedelta64(int(rng.integers(*DAYS)), "D")
    end = start + np.timedelta64(HOURS, "h")
    world = world_of(series_history(site, *month(site, start, end, rng=rng)), start, end)
    return BacktestCase.of(site, world, load_scale=float(rng.choice(LOADS)))
