"""Coverage of points over years, with many pauses of their sender."""

import random

import pytest

from telemetry.quality.tracker import (
    HEARTBEAT_PERIOD_S,
    MAX_MISSED_HEARTBEATS,
    REPEAT_TOLERANCE_S,
    PointCoverage,
)

POINT = "Sensor/AirTemperature/small/weather/air_temperature"


def overlap(first, last, pauses):
    return sum(max(min(last, end) - max(first, start), 0) for start, end in pauses)


@pytest.mark.parametrize("seed", range(20))
def test_silence_excludes_the_pauses_of_the_sender(seed):
    """The expected shares subtract every pause from every silence."""
    rng = random.Random(seed)
    coverage, pauses, silent, last_heartbeat, last = PointCoverage(), [], 0, 1000, 1000
    coverage.record_heartbeat(1000)
    coverage.record(POINT, 1000)
    for second in [*sorted(rng.sample(range(1001, 20_000), 60)), 20_000]:
        if rng.random() < 0.7 and second < 20_000:
            pauses += (
                [(last_heartbeat, second)]
                if second - last_heartbeat > MAX_MISSED_HEARTBEATS * HEARTBEAT_PERIOD_S
                else []
            )
            last_heartbeat = second
            coverage.record_heartbeat(second)
        else:
            length = second - last - overlap(last, second, pauses)
            silent += (
                length - coverage.period if length > coverage.period + REPEAT_TOLERANCE_S else 0
            )
            last = second
            coverage.record(POINT, second)
    total = 20_000 - 1000 - overlap(1000, 20_000, pauses)
    shares = [one["share"] for one in coverage.worst_points(20_000)]
    assert shares == ([max(1.0 - silent / total, 0.0)] if silent else [])


def test_coverage_does_not_read_years_of_pauses():
    """Proves: the coverage is computed without reading all pauses; a HOLD may wait for it."""

    class UnreadList(list):
        def __iter__(self):
            raise AssertionError("all pauses were read")

    coverage = PointCoverage()
    coverage._pauses = UnreadList()
    for second in range(0, 100_000, 1000):
        coverage.record_heartbeat(second)
        coverage.record(POINT, second)
    for second in range(100_000, 101_000, HEARTBEAT_PERIOD_S):
        coverage.record_heartbeat(second)
    assert coverage.worst_points(101_000)[0]["gaps"] == 9
