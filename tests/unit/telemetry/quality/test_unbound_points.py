"""Points without a meaning for the twin: impossible values are not flagged good."""

from dataclasses import replace

import numpy as np
import pytest

import sites
from telemetry.messages.samples import PointMetadata, PointValue
from telemetry.points.binding import PointBinder
from telemetry.points.site_points import announced_metadata
from telemetry.quality.checks import QualityFlag, unbound_point_limits
from twin.time_axes import UNKNOWN_TIME

NOON = np.datetime64("2026-06-16T12:00", "us")
SECOND = np.timedelta64(1, "s")
PUMP = PointMetadata(
    point="Pump/PumpSpeed/small/p1/speed",
    object_type="Pump",
    point_type="PumpSpeed",
    object_id="p1",
    object_name="p1",
    unit="%",
)
LEAK = replace(PUMP, unit="", state_text=((0, "NoLeak"), (1, "Leak")))


def verdict(value, metadata=PUMP, *, ahead=0, quality=1, now=NOON):
    time = NOON + ahead * SECOND
    sample = PointValue(point=PUMP.point, time=time, value=value, quality=quality)
    return unbound_point_limits(metadata).check(sample, now)


@pytest.mark.parametrize(
    ("unit", "good", "bad"),
    [
        ("%", (0.0, 100.0, 104.0, -1.0), (1e30, 150.0, -20.0)),
        ("%RH", (0.0, 100.0), (250.0,)),
        ("C", (-40.0, 20.0, 600.0), (1e30, -273.0, 3000.0)),
        ("F", (-40.0, 212.0), (5000.0,)),
        ("K", (3.0, 293.0), (1e30,)),
        ("kW", (0.0, 250_000.0, -3000.0), (1e30,)),
        ("LPM", (0.0, 5000.0), (1e30,)),
        ("Hz", (50.0, 0.0), (1e30, -50.0)),
        ("RPM", (0.0, 20_000.0), (1e30,)),
        ("furlong", (1e9,), (1e30,)),
    ],
)
def test_impossible_value_is_out_of_range(unit, good, bad):
    metadata = replace(PUMP, unit=unit)
    assert {verdict(value, metadata) for value in good} == {QualityFlag.GOOD}
    assert {verdict(value, metadata) for value in bad} == {QualityFlag.RANGE}


def test_time_and_source_are_checked_without_metadata():
    for metadata in (PUMP, None):
        assert verdict(50.0, metadata, ahead=-3600) is QualityFlag.LATE
        assert verdict(1e30, metadata, ahead=-3600) is QualityFlag.RANGE
        assert verdict(50.0, metadata, ahead=60) is QualityFlag.FUTURE
        assert verdict(50.0, metadata, ahead=-3600, now=UNKNOWN_TIME) is QualityFlag.GOOD
        assert verdict(None, metadata) is QualityFlag.BAD_SOURCE
        assert verdict(50.0, metadata, quality=0) is QualityFlag.BAD_SOURCE
        assert verdict(float("nan"), metadata) is QualityFlag.RANGE


def test_state_must_be_an_announced_one():
    assert [verdict(value, LEAK) for value in (0.0, 1.0)] == [QualityFlag.GOOD] * 2
    assert [verdict(value, LEAK) for value in (2.0, 0.5)] == [QualityFlag.RANGE] * 2


def test_power_factors_and_heartbeats_have_no_unit():
    factor = replace(PUMP, unit="", point_type="PowerFactor")
    assert (verdict(-0.97, factor), verdict(97.0, factor)) == (QualityFlag.GOOD, QualityFlag.RANGE)
    beat = replace(PUMP, unit="", point_type="HeartbeatTimestampBms")
    assert (verdict(1.78e12, beat), verdict(-1.0, beat)) == (QualityFlag.GOOD, QualityFlag.RANGE)


def test_binder_keeps_metadata_of_unknown_points():
    binder = PointBinder(sites.load_site("small"))
    assert binder.metadata_of(PUMP.point) is None
    assert binder.register(PUMP) is None
    assert binder.metadata_of(PUMP.point) == PUMP
    known = next(iter(announced_metadata(sites.load_site("small"))))
    binder.register(known)
    assert binder.metadata_of(known.point) == known
    changed = replace(known, integration="MEPAI")
    binder.register(changed)
    assert binder.metadata_of(known.point) == changed
