"""A day without faults raises no alarm on any declared site; a fault raises its own, once."""

from dataclasses import replace

import pytest

import sites
from telemetry.messages.samples import PointValue
from telemetry.points.site_points import list_points
from tests.support.lockstep import LockstepService
from twin.time_axes import QUARTER_HOUR

DAY = 96
AFTERNOON = 24
"""Quarter-hours with the most sun and the warmest air, on which a large site is tested. [1]"""

LEVEL = "battery_level of battery_1"


LARGE = [name for name in sites.site_names() if name != "small"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("small", marks=pytest.mark.slow),
        *(pytest.param(name, marks=pytest.mark.long) for name in LARGE),
    ],
)
def test_day_without_faults_raises_no_alarm(tmp_path, name):
    """Proves: 96 decisions on a plant with noisy sensors, worn machines and other parameters.

    Sensitivity: a day of `small` raised 32 alarms, such as a drift of 27 W.
    """
    day = LockstepService(name, tmp_path, steps=DAY)
    assert day.run() == []
    assert len(day.sources) == DAY
    assert "hold" not in day.sources


@pytest.mark.slow
def test_afternoon_without_faults_raises_no_alarm(tmp_path):
    """Proves: as the day above, which takes minutes at a large site."""
    day = LockstepService("rhine", tmp_path, steps=AFTERNOON, start="2026-06-16T10:00")
    assert day.run() == []
    assert len(day.sources) == AFTERNOON
    assert "hold" not in day.sources


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "steps", "alarm"),
    [
        ("trip:battery_1@0", 2, "machines:battery_1"),
        ("trip:chilled_plant@0", 2, "machines:chilled_plant"),
        ("meter_lost@0.5", 8, "telemetry:grid_import_power"),
        ("silent@0.5", 8, "telemetry:grid_import_power"),
        pytest.param(
            "drift:warm_plant@0.5",
            20,
            "sensor:facility_supply_temperature of warm_plant",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "stuck:warm_plant@0.5",
            20,
            "telemetry:facility_supply_temperature of warm_plant",
            marks=pytest.mark.long,
        ),
    ],
)
def test_fault_of_the_plant_raises_its_alarm(tmp_path, fault, steps, alarm):
    day = LockstepService("small", tmp_path, steps=steps, faults=(fault,))
    assert ("alarm", alarm) in [event[1:3] for event in day.run()]


@pytest.mark.slow
def test_failed_sensor_raises_one_alarm(tmp_path):
    """Proves: a level that jumps by 30 % of the battery is reported from the third decision on."""
    site = sites.load_site("small")
    (point,) = (
        one.metadata.point
        for one in list_points(site)
        if (one.meaning.variable, one.label) == ("battery_level", "battery_1")
    )
    changed = []

    def distort(sample):
        if not isinstance(sample, PointValue) or sample.point != point or sample.value is None:
            return sample
        changed.append(sample.time)
        if sample.time < changed[0] + 3 * QUARTER_HOUR:
            return sample
        return replace(sample, value=sample.value + (30.0 if sample.value < 60.0 else -30.0))

    day = LockstepService("small", tmp_path, steps=9, distort=distort)
    events = [event for event in day.run() if event[2] == f"sensor:{LEVEL}"]
    assert [event[1] for event in events] == ["alarm"]
