"""A burst of load targets delays no heartbeat and no HOLD (reliability, load isolation)."""

import itertools
import time

import pytest

from optimizer.service.watchdog import HEARTBEAT_INTERVAL_S
from tests.support.flexing import target
from tests.system.faults.test_load_targets import PATIENCE, Operator, contracted_stage, iso
from tests.system.faults.words import schedules

pytestmark = pytest.mark.slow

BURST = 1000
"""Valid load targets that are sent at once. [1]"""

LONGEST_DELAY_S = 1.0
"""Longest delay of a heartbeat and of a HOLD. [s]"""

HOUR = 3_600_000


@pytest.fixture
def stage(tmp_path, embedded):
    with contracted_stage(tmp_path, embedded.url) as stage:
        yield stage


def accepted(stage):
    return stage.tell("status")["snapshot"]["load_targets"]["taken"]


def heartbeats(ear, since):
    """Return when the service's heartbeats arrived. [s]"""
    return [one.at for one in ear.heard if "eartbeat" in one.topic and one.at >= since]


def test_burst_of_load_targets_delays_neither_heartbeats_nor_hold(stage, ear):
    """Sensitivity: 1,000 targets took 25 s on the thread of the heartbeats."""
    stage.serve("--page", "0")
    operator = Operator(stage)
    stage.play(96, words=["--speed", "60"])
    created = ear.until(lambda: schedules(ear), PATIENCE)[0]["created"]
    begun = ear.now()
    ear.until(lambda: heartbeats(ear, begun), PATIENCE)
    end = iso(created + 24 * HOUR)
    for number in range(BURST):
        operator.set(target(4.0 + number * 1e-4, start=iso(created + HOUR), end=end), at=created)
    asked = time.monotonic()
    stage.tell("hold", author="ana", reason="load test", hours=1.0)
    assert time.monotonic() - asked <= LONGEST_DELAY_S
    done = ear.now()
    times = ear.until(lambda: len(heartbeats(ear, done)) >= 2 and heartbeats(ear, begun), PATIENCE)
    assert accepted(stage) > 0
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) <= HEARTBEAT_INTERVAL_S + LONGEST_DELAY_S
