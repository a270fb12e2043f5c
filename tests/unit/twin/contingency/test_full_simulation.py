"""Time to limit compared with a full simulation in small steps, at random states and failures."""

import numpy as np
import pytest

from tests.support.full_simulation import Full
from tests.support.random_failures import drawn
from twin.contingency.ride_through_time import (
    affects,
    faulted_circuits,
    prefault_state,
    time_to_limit,
)

LONGEST = 120.0
"""What is reached later than this is compared as not reached. [min]"""

ERROR = 0.05
NEAR = 0.1
"""Where water that settles this close to a limit counts as near it. [K]"""

STEP = 1.0 / 60.0
"""What is reached within a second is reached at once. [min]"""


def compared(seed):
    """Return what the twin finds, and a full simulation with limits some K higher. [min]"""
    site, start, operation, trip = drawn(seed)
    found = time_to_limit(site, start, operation, contingencies=[trip])
    ours = float(found["time_to_limit"][0, 0])
    horizon = min(60.0 * (1.1 * ours + 1.0), 60.0 * LONGEST)
    situation = prefault_state(site, start, operation)
    touched = [
        Full(site, start, operation, trip, serves=circuit.plant.machine.serves)
        for circuit in faulted_circuits(situation)
        if affects(trip, circuit)
    ]

    def full(slack):
        step = 0.1 if horizon < 600.0 else 0.5
        autonomy = site.contingency.ups_autonomy / 60.0 if trip.is_total_supply_loss else np.inf
        return min(autonomy, *(one.first(horizon, step, slack=slack)[0] for one in touched))

    return (ours if 60.0 * ours <= horizon else np.inf), full


def agree(ours, full):
    return ours == full or abs(ours - full) <= ERROR * full + STEP < np.inf


def check(seeds):
    """Hold some draws to the error; return times to limit, and seeds that stop near a limit.

    Where the water settles within 0.1 K of a limit, a time says nothing: it must only lie between
    the times to limits that much lower and higher.
    """
    reached, near = [], []
    for seed in seeds:
        ours, full = compared(seed)
        time = full(0.0)
        if not agree(ours, time):
            earliest, latest = (1.0 - ERROR) * full(-NEAR) - STEP, (1.0 + ERROR) * full(NEAR) + STEP
            assert earliest <= ours <= latest, seed
            near.append(seed)
        if 0.0 < time < np.inf:
            reached.append(time)
    return reached, near


@pytest.mark.slow
def test_few_failures_agree_with_a_full_simulation():
    reached, near = check(range(8))
    assert reached
    assert not near


@pytest.mark.long
def test_two_hundred_failures_agree_with_a_full_simulation():
    reached, near = check(range(200))
    assert len(reached) > 50
    assert len(near) <= 4
