"""Units that change are flagged, and real series of real machines are not."""

import numpy as np
import pytest

import sites
from telemetry.points.plausible_ranges import plausible_range
from telemetry.quality.checks import NO_HISTORY, PointReading, QualityFlag, check_reading
from twin.time_axes import UNKNOWN_TIME

NOON = np.datetime64("2026-06-16T12:00", "us")
SECOND = np.timedelta64(1, "s")
SITE = sites.load_site("small")
GRID, HALL, BATTERY = SITE.grid_connection, SITE.equipment["hall_1"], SITE.equipment["battery_1"]


def verdicts(limits, values, *, every=100, start=NOON):
    """Return the flags of a series in the canonical unit, with values a number of seconds apart."""
    history, flags = NO_HISTORY, []
    for count, value in enumerate(values):
        reading = PointReading(value=float(value), time=start + count * every * SECOND)
        flags.append(check_reading(reading, UNKNOWN_TIME, history, limits=limits))
        history = history.with_reading(reading, flags[-1], limits)
    return flags


@pytest.mark.parametrize(
    ("variable", "machine", "values"),
    [
        ("hall_power", HALL, [0.9, 0.0009, 0.00091, 0.00089]),  # MW sent for kW
        ("grid_import_power", GRID, [2.0, 0.002, 0.00203]),
        ("battery_level", BATTERY, [0.8, 0.008, 0.0083]),  # a share for per cent
        ("relative_humidity", None, [0.5, 0.005, 0.0051]),
        ("facility_supply_temperature", None, [20.0, 68.0, 68.2, 66.0]),  # degF for degC
        ("air_temperature", None, [10.0, 50.1, 50.4, 49.9]),
    ],
)
def test_unit_change_within_the_band_stays_flagged(variable, machine, values):
    limits = plausible_range(variable, machine)
    back = [*values, values[0] * 1.03]
    expected = [QualityFlag.GOOD] + [QualityFlag.UNIT] * (len(values) - 1) + [QualityFlag.GOOD]
    assert verdicts(limits, back) == expected


def test_value_out_of_its_band_stays_another_unit():
    """311 K at 38 degC, rising slowly by 10 K in an hour."""
    kelvin = np.linspace(38.0, 48.0, 37) + 273.15
    flags = verdicts(plausible_range("facility_supply_temperature"), [38.0, *kelvin])
    assert set(flags[1:]) == {QualityFlag.UNIT}


@pytest.mark.parametrize("every", [1, 100, 900])
def test_powers_that_fall_to_almost_zero_are_good(every):
    """A battery rests at some kW, a hall is switched off, the sun sets."""
    noise = np.random.default_rng(7)
    for power in np.linspace(0.05, 1.0, 20):
        rest = np.abs(noise.normal(0.0, 0.0025, 10)).round(4)
        flags = verdicts(
            plausible_range("battery_charge", BATTERY), [*[power] * 3, *rest], every=every
        )
        assert flags.count(QualityFlag.UNIT) <= 1
        assert flags[-1] is QualityFlag.GOOD
    hall = np.r_[np.full(20, 1.1), 0.35, 0.02, np.full(20, 0.004), 0.4, 1.1]
    solar = SITE.equipment["solar_1"]
    sun = solar.power * np.maximum(np.sin(np.linspace(-0.5, 3.6, 300)), -0.001)
    for variable, machine, values in (
        ("hall_power", HALL, hall),
        ("renewable_used_power", solar, sun),
    ):
        assert set(verdicts(plausible_range(variable, machine), values, every=every)) == {
            QualityFlag.GOOD
        }


def test_exact_thousandth_is_doubted_until_it_changes():
    """Exactly 1000 kW, then 1 kW, is ambiguous; 2 kW then shows a battery at rest."""
    flags = verdicts(
        plausible_range("battery_charge", BATTERY), [0.5, 0.0005, 0.0005, 0.001, 0.0005]
    )
    assert flags == [
        QualityFlag.GOOD,
        QualityFlag.UNIT,
        QualityFlag.UNIT,
        QualityFlag.GOOD,
        QualityFlag.GOOD,
    ]


def test_real_weather_and_water_are_good():
    """Two weeks of air with fronts of 12 K in an hour; water that is heated and cooled."""
    noise = np.random.default_rng(11)
    hours = np.arange(0.0, 336.0, 1.0 / 36.0)
    air = 9.0 + 7.0 * np.sin(hours / 24.0 * 2.0 * np.pi) + noise.normal(0.0, 0.2, hours.size)
    air -= np.where((hours > 100.0) & (hours < 160.0), 12.0 * np.clip(hours - 100.0, 0.0, 1.0), 0.0)
    humidity = np.clip(0.6 + np.cumsum(noise.normal(0.0, 0.01, hours.size)), 0.05, 1.0)
    water = np.r_[np.full(50, 20.0), np.linspace(20.0, 69.0, 50), np.full(50, 69.0)]
    level = 0.8 + 0.78 * np.sin(hours / 3.0)
    for variable, machine, values in (
        ("air_temperature", None, air),
        ("relative_humidity", None, humidity),
        ("facility_supply_temperature", None, water),
        ("battery_level", BATTERY, level),
        ("facility_flow", None, np.tile([120.0, 60.0, 35.0, 0.2, 0.0, 48.0], 20)),
    ):
        assert set(verdicts(plausible_range(variable, machine), values)) <= {
            QualityFlag.GOOD,
            QualityFlag.STUCK,
        }


def test_long_silence_resets_the_unit_check():
    limits = plausible_range("facility_supply_temperature")
    assert verdicts(limits, [20.0, 68.0], every=7200) == [QualityFlag.GOOD, QualityFlag.GOOD]
