"""Laws of the time to limit that hold at every site, load and weather."""

import itertools

import numpy as np
import pytest

from tests.support.random_failures import drawn
from tests.support.seeds import seeds
from twin.contingency.contingencies import FailedPart, single_contingencies
from twin.contingency.coverage import COARSE_STEP_GROWTH
from twin.contingency.ride_through_time import time_to_limit
from twin.site_settings import ResilienceSettings

SEEDS = range(4)
SOON = 240.0
"""Time within which a limit must be found to the minute. [min]"""

ROUNDING = 1.0 + 1e-6
SHARED = {FailedPart.CHILLER, FailedPart.REJECTION}
"""Where more load may help: the more chillers run, the less one of them matters at once."""


def times(site, start, operation, failures=None):
    return time_to_limit(site, start, operation, contingencies=failures)["time_to_limit"].to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_more_load_never_gives_more_time(seed):
    site, start, operation, _ = drawn(seed)
    loaded = operation.assign(hall_power=operation["hall_power"] * 1.1)
    loaded["hall_power"].attrs = operation["hall_power"].attrs
    failures = [trip for trip in single_contingencies(site) if trip.failed_part not in SHARED]
    less, more = (times(site, start, run, failures) for run in (operation, loaded))
    assert (more <= less * 1.01).all()


@pytest.mark.parametrize("seed", seeds(SEEDS))
def test_fuller_tank_never_gives_less_time(seed):
    site, start, operation, _ = drawn(seed)
    if "tank_level" not in start:
        pytest.skip("a site without a tank")
    for name in ("tank_charge", "tank_discharge"):
        operation[name] = operation[name].copy(data=0.0 * operation[name])
    store = next(s for s in site.stores if s.owner in start["tank"].to_numpy())
    found = []
    for level in np.linspace(store.min_level, store.max_level, 4):
        start["tank_level"] = start["tank_level"].copy(data=[level])
        found.append(times(site, start, operation))
    for less, more in itertools.pairwise(found):
        assert (less <= more * ROUNDING).all()


@pytest.mark.parametrize("seed", seeds(SEEDS))
def test_standby_units_never_give_less_time(seed):
    site, start, operation, _ = drawn(seed)
    canonical = {"canonical": True}
    poor = {"standby_pumps": 0, "chiller_start": 600.0, "cdu_pump_flow": 0.2}
    rich = {"standby_pumps": 1, "chiller_start": 120.0, "cdu_pump_flow": 0.8}
    less, more = (
        times(
            site.model_copy(
                update={"contingency": ResilienceSettings.model_validate(plan, context=canonical)}
            ),
            start,
            operation,
        )
        for plan in (poor, rich)
    )
    assert (less <= more * 1.01).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_losing_one_unit_is_never_worse_than_all(seed):
    site, start, operation, _ = drawn(seed)
    every = single_contingencies(site)
    found = times(site, start, operation)[:, 0]
    whole = {
        t.failed_machine: m
        for t, m in zip(every, found, strict=True)
        if t.failed_part is FailedPart.PLANT
    }
    parts = [(t, m) for t, m in zip(every, found, strict=True) if t.failed_part in SHARED]
    assert parts
    for trip, minutes in parts:
        assert minutes >= whole[trip.failed_machine] / 1.01


def test_batched_failures_equal_single_ones():
    site, start, operation, _ = drawn(3)
    every = single_contingencies(site)
    together = times(site, start, operation)
    alone = np.concatenate([times(site, start, operation, [trip]) for trip in every])
    assert together == pytest.approx(alone, rel=2e-3)


@pytest.mark.parametrize("seed", seeds(SEEDS))
def test_fast_verifier_steps_are_accurate_enough(seed):
    """Proves: within hours. Later a tank runs dry in steps of a quarter-hour, and water that
    settles some tenths of a K below a limit may touch it; a verdict asks for minutes."""
    site, start, operation, _ = drawn(seed)
    exact, quick = (
        time_to_limit(site, start, operation, growth=growth)["time_to_limit"].to_numpy()
        for growth in (100.0, COARSE_STEP_GROWTH)
    )
    soon = np.minimum(exact, quick) <= SOON
    assert np.isfinite(exact[soon]).all()
    assert quick[soon] == pytest.approx(exact[soon], rel=0.05, abs=1.0 / 60.0)
