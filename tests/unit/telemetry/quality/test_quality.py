"""Quality: one verdict a reading, by the first fault found."""

from pathlib import Path

import numpy as np
import pytest

import sites
from telemetry.messages.samples import RackBatch
from telemetry.points.plausible_ranges import (
    RANGE_BY_VARIABLE,
    PlausibleRange,
    apply_site_limits,
    plausible_range,
    read_site_limits,
)
from telemetry.quality.checks import (
    NO_HISTORY,
    PointHistory,
    PointReading,
    QualityFlag,
    check_batch,
    check_reading,
)
from twin import variables
from twin.errors import SiteError
from twin.site import EQUIPMENT_KINDS
from twin.time_axes import UNKNOWN_TIME

NOON = np.datetime64("2026-06-16T12:00", "us")
SECOND = np.timedelta64(1, "s")
SUPPLY = plausible_range("facility_supply_temperature")


def verdict(value, *, time=NOON, now=NOON, history=NO_HISTORY, quality=1):
    return check_reading(
        PointReading(value=value, time=time, quality=quality), now, history, limits=SUPPLY
    )


@pytest.mark.parametrize(
    ("value", "quality", "flag"),
    [
        (38.0, 1, QualityFlag.GOOD),
        (38.0, 0, QualityFlag.BAD_SOURCE),
        (38.0, 2, QualityFlag.BAD_SOURCE),
        (None, 1, QualityFlag.BAD_SOURCE),
        (0.99, 1, QualityFlag.RANGE),
        (70.01, 1, QualityFlag.RANGE),
        (float("nan"), 1, QualityFlag.RANGE),
        (-1e308, 1, QualityFlag.RANGE),
    ],
)
def test_source_and_range(value, quality, flag):
    assert verdict(value, quality=quality) is flag


@pytest.mark.parametrize(
    ("ahead", "flag"),
    [
        (5, QualityFlag.GOOD),
        (6, QualityFlag.FUTURE),
        (-900, QualityFlag.GOOD),
        (-901, QualityFlag.LATE),
    ],
)
def test_clock(ahead, flag):
    assert verdict(38.0, time=NOON + ahead * SECOND) is flag
    assert verdict(38.0, time=NOON + ahead * SECOND, now=UNKNOWN_TIME) is QualityFlag.GOOD


def test_late_implausible_value_is_out_of_range():
    """Sensitivity: late values are used as history, so 9999 degC was archived as good."""
    assert verdict(9999.0, time=NOON - 901 * SECOND) is QualityFlag.RANGE


def flags_of(values, limits=SUPPLY, every=1):
    """Return the verdicts on numbers so many seconds apart."""
    history, flags = NO_HISTORY, []
    for count, value in enumerate(values):
        reading = PointReading(value=value, time=NOON + count * every * SECOND)
        flags.append(check_reading(reading, UNKNOWN_TIME, history, limits=limits))
        history = history.with_reading(reading, flags[-1], limits)
    return flags


@pytest.mark.parametrize(
    ("values", "rates"),
    [
        ([38.0, 50.0, 38.1, 38.2], [1]),  # a spike is no measure for what comes after it
        ([38.0, 50.0, 38.1, 50.0, 38.2, 38.2], [1, 3]),
        ([38.0, 50.0, 61.0, 38.2], [1, 2]),
        ([38.0, 50.0, 50.1, 50.0, 50.1], [1, 2]),  # a step: three that agree
        ([38.0, 50.0, 60.0, 50.0, 50.0, 50.0], [1, 2, 3, 4]),
        ([38.0, 36.1, 34.2, 32.3], []),  # a ramp
    ],
)
def test_spike_is_flagged_and_confirmed_step_passes(values, rates):
    """More than 2 K in a second since the last accepted reading."""
    expected = [QualityFlag.RATE if n in rates else QualityFlag.GOOD for n in range(len(values))]
    assert flags_of(values) == expected


def test_repeated_reading_is_no_step():
    history = NO_HISTORY.after_trusted(PointReading(value=38.0, time=NOON))
    leap = PointReading(value=50.0, time=NOON + SECOND)
    for _ in range(3):
        assert check_reading(leap, UNKNOWN_TIME, history, limits=SUPPLY) is QualityFlag.RATE
        history = history.with_reading(leap, QualityFlag.RATE, SUPPLY)
    assert history.candidate_count == 1


def test_a_sensor_that_shows_one_number_for_two_hours_is_stuck():
    history = NO_HISTORY
    for minute in range(0, 135, 15):
        reading = PointReading(value=38.0, time=NOON + minute * 60 * SECOND)
        flag = check_reading(reading, UNKNOWN_TIME, history, limits=SUPPLY)
        history = history.after_trusted(reading)
        assert flag is (QualityFlag.STUCK if minute > 120 else QualityFlag.GOOD)
    moved = PointReading(value=38.1, time=NOON + np.timedelta64(3, "h"))
    assert check_reading(moved, UNKNOWN_TIME, history, limits=SUPPLY) is QualityFlag.GOOD


def test_out_of_order_reading_is_not_compared():
    newest = PointHistory(last_trusted_value=38.0, time=NOON, since=NOON)
    assert verdict(60.0, time=NOON - SECOND, history=newest) is QualityFlag.GOOD
    old = PointReading(value=60.0, time=NOON - SECOND)
    assert newest.after_trusted(old) is newest


def test_bands_are_shares_of_the_machine():
    site = sites.load_site("small")
    limits = plausible_range("grid_import_power", site.grid_connection)
    assert (limits.low, limits.high) == pytest.approx((-1.5 * 4.7, 1.5 * 4.7))
    in_kilowatts = PointReading(value=3500.0, time=NOON)  # a kW that was meant as MW
    assert check_reading(in_kilowatts, UNKNOWN_TIME, limits=limits) is QualityFlag.UNIT


def test_bands_use_declared_variables_and_parameters():
    site = sites.load_site("small")
    parameters = {name for m in site.equipment.values() for name in dir(m)}
    parameters |= {name for kind in EQUIPMENT_KINDS.values() for name in kind.model_fields}
    for variable, limits in RANGE_BY_VARIABLE.items():
        variables.variable_definition(variable)
        assert limits.low < limits.high
        assert not limits.share_of_parameter or limits.share_of_parameter in parameters


def batch(**rows):
    names = ("power", "temperature", "utilisation", "memory", "clock")
    calm = {"power": 900, "temperature": 55, "utilisation": 0.9, "memory": 0.7, "clock": 1900}
    values = np.array([[{**calm, **rows}[name]] * 72 for name in names], dtype=np.float32)
    return RackBatch(
        site="small",
        hall="hall_1",
        rack="r0001",
        boot=1,
        sequence=1,
        time=NOON,
        interval=SECOND,
        values=values,
    )


def test_batches():
    assert check_batch(batch(), NOON) is QualityFlag.GOOD
    assert check_batch(batch(power=6000), NOON) is QualityFlag.RANGE
    assert check_batch(batch(temperature=-40), UNKNOWN_TIME) is QualityFlag.RANGE
    assert check_batch(batch(utilisation=90), UNKNOWN_TIME) is QualityFlag.RANGE
    assert check_batch(batch(), NOON - 6 * SECOND) is QualityFlag.FUTURE
    assert check_batch(batch(), NOON + 901 * SECOND) is QualityFlag.LATE


POWER = PlausibleRange(low=-0.1, high=10.0, max_rate=0.5)


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        (4000.0, QualityFlag.UNIT),  # kW for MW
        (0.004, QualityFlag.UNIT),  # a jump down by a thousand: GW for MW
        (4100.0, QualityFlag.UNIT),
        (8000.0, QualityFlag.RANGE),  # 8 MW, where 4 were: something else
        (4.1, QualityFlag.GOOD),
        (9.0, QualityFlag.RATE),
    ],
)
def test_wrong_unit_differs_from_outlier(value, flag):
    before = NO_HISTORY.after_trusted(PointReading(value=4.0, time=NOON))
    reading = PointReading(value=value, time=NOON + SECOND)
    assert check_reading(reading, UNKNOWN_TIME, before, limits=POWER) is flag


def test_wrong_temperature_scale_is_detected():
    before = NO_HISTORY.after_trusted(PointReading(value=38.0, time=NOON))
    for other in (38.0 * 1.8 + 32.0, 38.0 + 273.15):  # 100.4 degF, 311.15 K
        reading = PointReading(value=other, time=NOON + SECOND)
        assert check_reading(reading, UNKNOWN_TIME, before, limits=SUPPLY) is QualityFlag.UNIT


def test_first_value_1000_times_too_large_has_wrong_unit():
    assert (
        check_reading(PointReading(value=4000.0, time=NOON), UNKNOWN_TIME, limits=POWER)
        is QualityFlag.UNIT
    )
    assert (
        check_reading(PointReading(value=4e9, time=NOON), UNKNOWN_TIME, limits=POWER)
        is QualityFlag.RANGE
    )


def test_a_sensor_that_hardly_moves_for_six_hours_is_flat():
    limits = PlausibleRange(low=0.0, high=100.0, min_change=0.01)
    history, flags = NO_HISTORY, []
    for quarter in range(28):
        value = 50.0 + 0.001 * (quarter % 7)
        reading = PointReading(value=value, time=NOON + quarter * 900 * SECOND)
        flags.append(check_reading(reading, UNKNOWN_TIME, history, limits=limits))
        history = history.after_trusted(reading, limits.min_change)
    # since 12:00; the first after 18:00 is 18:15, number 25
    assert flags == [QualityFlag.GOOD] * 25 + [QualityFlag.FLAT] * 3
    live = PointReading(value=50.02, time=NOON + 28 * 900 * SECOND)
    assert check_reading(live, UNKNOWN_TIME, history, limits=limits) is QualityFlag.GOOD


def test_a_site_sets_thresholds_of_its_own(tmp_path):
    path = tmp_path / "limits.json"
    assert read_site_limits(path) == {}
    path.write_text('{"air_temperature": {"high": 45, "stuck": 3600}, "a/b": {"high": 40}}')
    limits = read_site_limits(path)
    found = apply_site_limits(plausible_range("air_temperature"), limits, "air_temperature", "a/b")
    assert (found.low, found.high) == (-60.0, 40.0)
    assert found.stuck_period == np.timedelta64(1, "h")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "object"),
        ("{", "Expecting"),
        ('{"a": 3}', "a = 3"),
        ('{"a": {"hihg": 3}}', "a.hihg"),
        ('{"a": {"high": true}}', "a.high"),
        ('{"a": {"high": 1e13}}', "a.high"),
        (f'{{"a": {{"high": 1{"0" * 400}}}}}', "a.high"),
        ('{"a": {"high": 1e999}}', "too large"),
    ],
)
def test_thresholds_that_cannot_be_read_are_faults(tmp_path, text, words):
    (tmp_path / "limits.json").write_text(text)
    with pytest.raises(SiteError, match=words):
        read_site_limits(tmp_path / "limits.json")


def test_each_flag_is_documented_by_its_meaning():
    docs = Path(__file__).parents[4] / "docs"
    text = (docs / "reference" / "telemetry-archive.md").read_text(encoding="utf-8")
    rows = [
        line
        for line in text.splitlines()
        if line.startswith(tuple(f"| `{one}`" for one in QualityFlag))
    ]
    assert rows == [f"| `{flag}` | {flag.meaning} |" for flag in QualityFlag]
