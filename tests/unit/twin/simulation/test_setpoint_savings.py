"""Savings by set points on the Frontier-like plant: parts by hand, and a week of varying load."""

import numpy as np
import pytest

import sites
from tests.support.air_site import airy
from twin import time_axes
from twin.equipment import CoolingPlant, ITHall
from twin.plots import plot_savings
from twin.reporting.setpoint_savings import (
    CHOSEN_FLOW,
    CHOSEN_FLOW_AND_TEMPERATURE,
    CONTROL_STRATEGIES,
    DECLARED_RANGE,
    FIXED_FLOW,
    RATE_LIMITED,
    compare_control_strategies,
)
from twin.weather import Weather

HOURS = 24 * 7


@pytest.fixture(scope="module")
def site():
    return sites.load_site("frontier")


def june(days):
    """Return warm days, a little warmer each, with cool nights."""
    hours = np.arange(24 * days)
    wet = 12.0 + 0.04 * hours - 4.0 * np.cos(hours * 2.0 * np.pi / 24.0)
    return Weather(
        air_temperature=wet + 6.0,
        wet_bulb_temperature=wet,
        humidity_ratio=np.full(len(hours), 0.009),
        air_pressure=np.full(len(hours), 98.0),
    )


@pytest.fixture(scope="module")
def week(site):
    """Return a week at a load that swings through all of its range twice a day."""
    (hall,) = site.machines_of(ITHall)
    swing = 0.5 - 0.5 * np.cos(np.arange(HOURS) * 2.0 * np.pi / 12.0)
    power = hall.idle_power + swing * (hall.full_power - hall.idle_power)
    return compare_control_strategies(site, {"hall_1": power}, june(7), durations=np.ones(HOURS))


def test_fixed_flow_by_hand(week):
    """Pumps at rating: 0.33 MW and 30 kW of both plants, and 25 CDU pumps of 8.47347 kW."""
    assert week[FIXED_FLOW].flow_share == pytest.approx(1.0)
    least = 0.33 + 0.03 + 25 * 8473.47e-6
    fans = 0.06 + 20 * 0.022  # of the hall and of all cells, at full
    assert (week[FIXED_FLOW].cooling_power > least).all()
    assert (week[FIXED_FLOW].cooling_power < least + fans + 0.55).all()  # and some compressors


def test_each_measure_saves_compared_with_the_previous(week):
    energy = {way: week[way].cooling_power.sum() for way in CONTROL_STRATEGIES}
    assert (
        energy[CHOSEN_FLOW_AND_TEMPERATURE]
        <= energy[CHOSEN_FLOW]
        <= energy[DECLARED_RANGE]
        < energy[FIXED_FLOW]
    )
    assert energy[CHOSEN_FLOW_AND_TEMPERATURE] <= energy[RATE_LIMITED] < 0.8 * energy[FIXED_FLOW]


def test_chip_and_ramp_limits_are_kept(site, week):
    (hall,) = site.machines_of(ITHall)
    assert set(week) == set(CONTROL_STRATEGIES)
    for trajectory in week.values():
        assert trajectory.chip_temperature.max() < hall.chip_temperature_limit
    steps = np.abs(np.diff(week[RATE_LIMITED].supply_temperature)) / 60.0
    assert 0.01 < steps.max() <= site.set_points.temperature_ramp * (1 + 1e-9)


def test_flow_suffices_after_a_pump_trip(week):
    for way in CONTROL_STRATEGIES[1:]:
        assert week[way].flow_share.min() >= 0.4 * (1 - 2e-3)  # warmer water weighs a little less
    assert (
        week[RATE_LIMITED].flow_share.mean() > week[CHOSEN_FLOW_AND_TEMPERATURE].flow_share.mean()
    )  # ready for a swing


def test_run_begins_at_its_first_set_points(site, week):
    assert week[FIXED_FLOW].supply_temperature == pytest.approx(30.0)
    assert week[CHOSEN_FLOW_AND_TEMPERATURE].supply_temperature.max() == pytest.approx(
        32.0, abs=0.01
    )
    (warm,) = (plant for plant in site.machines_of(CoolingPlant) if plant.serves == "warm")
    assert warm.supply_limit == 34.0


def test_stores_and_sources_are_idle():
    """A site with battery, tank, sun, wind and district heat has its trajectories too."""
    baltica = sites.load_site("baltica")
    halls = {hall.name: np.full(24, 0.7 * hall.full_power) for hall in baltica.machines_of(ITHall)}
    found = compare_control_strategies(baltica, halls, june(1), durations=np.ones(24))
    assert found[RATE_LIMITED].cooling_power.sum() < found[FIXED_FLOW].cooling_power.sum()


def test_figure_has_months_and_days(week, tmp_path):
    grid = time_axes.regular_axes(time_axes.to_utc("2026-06-08"), HOURS, time_axes.HOUR)
    figure = plot_savings(week, grid, title="a week")
    bars, supply, flow = figure.axes
    assert [label.get_text() for label in bars.get_xticklabels()] == ["2026-06"]
    assert [text.get_text() for text in bars.get_legend().get_texts()] == list(CONTROL_STRATEGIES)
    energy = sum(week[FIXED_FLOW].cooling_power)
    assert bars.patches[0].get_height() == pytest.approx(energy)
    assert len(supply.lines) == len(flow.lines) == 3
    figure.savefig(tmp_path / "week.png")
    assert (tmp_path / "week.png").stat().st_size > 10_000


def test_air_cooled_site_has_results_for_its_only_circuit():
    """Proves: at 0.6 MW of its 0.84 the chilled plant's pumps at rating move the rated flow."""
    small = airy(sites.load_site("small"))
    halls = {hall.name: np.full(24, 0.3) for hall in small.machines_of(ITHall)}
    found = compare_control_strategies(small, halls, june(1), durations=np.ones(24))
    assert found[FIXED_FLOW].flow_share == pytest.approx(1.0)
    assert found[FIXED_FLOW].supply_temperature == pytest.approx(18.0)
