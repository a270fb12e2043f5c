"""Impossible input is refused with its location; input beyond a fit is flagged, never NaN."""

import numpy as np
import pytest
import xarray as xr

import sites
from tests.support.runs import ordered, steady, total
from twin.equipment import ChilledWaterTank, ITHall
from twin.errors import SiteError, StateError
from twin.physics import heat_rejection
from twin.simulation import state
from twin.simulation.simulate import simulate

SITE = sites.load_site("small")


def even(**values):
    """Return an even operation with one number everywhere in some of its words."""
    operation = steady(SITE)
    for name, value in values.items():
        operation[name] = operation[name].copy(data=np.full(operation[name].shape, float(value)))
    return operation


def numbers(result):
    """Return every number of a run."""
    return np.concatenate(
        [result[n].to_numpy().ravel() for n in result.data_vars if result[n].dtype.kind == "f"]
    )


@pytest.mark.parametrize(
    ("gone", "asks", "lacks"),
    [
        ("cdu_1", "hall_", "liquid"),
        ("hall_air_1", "hall_", "air"),
        ("warm_plant", "cdu_1", "warm"),
        ("chilled_plant", "", "chilled"),
    ],
)
def test_heat_without_a_cooling_path_is_refused(gone, asks, lacks):
    site = SITE.with_equipment({n: m for n, m in SITE.equipment.items() if n != gone})
    with pytest.raises(SiteError, match=rf"\[equipment.{asks}.*delivers {lacks}.*has no path"):
        simulate(site, state.initial_state(site), steady(site))


@pytest.mark.parametrize(
    ("word", "value", "pattern"),
    [
        ("air_temperature", np.nan, "from -90 to 60 degC"),
        ("air_temperature", 293.15, "= 293.15"),  # kelvin
        ("relative_humidity", 55.0, "from 0 to 1.1"),  # percent
        ("relative_humidity", -0.01, "from 0 to 1.1"),
        ("air_pressure", 1013.25, "from 50 to 110 kPa"),  # hectopascal
        ("air_pressure", 0.0, "from 50 to 110 kPa"),
    ],
)
def test_impossible_air_is_refused_with_name_and_time(word, value, pattern):
    with pytest.raises(StateError, match=f"weather, {word}.*{pattern}"):
        simulate(SITE, state.initial_state(SITE), even(**{word: value}))


def test_interval_of_zero_length_is_refused():
    operation = steady(SITE)
    operation["duration"] = operation["duration"] * 0.0
    with pytest.raises(StateError, match=r"duration .*differences of the instants"):
        simulate(SITE, state.initial_state(SITE), operation)


@pytest.mark.parametrize(
    ("spoil", "pattern"),
    [
        (
            lambda one: one.assign_coords(duration=2.0 * one["duration"]),
            "differences of the instants",
        ),
        (
            lambda one: one.assign_coords(instant=one["instant"] + np.timedelta64(1, "D")),
            "the starts of all intervals",
        ),
        (lambda one: one.drop_vars("instant"), "the coordinates time, instant"),
        (lambda one: one.assign(hall_power=1000.0 * one["hall_power"]), "out-of-range"),
        (
            lambda one: ordered(one, "renewable_used_power", "renewable", solar_1=9, wind_1=0),
            "renewable_used_power, solar_1.*out-of-range",
        ),
    ],
)
def test_wrong_time_axis_or_unit_is_refused(spoil, pattern):
    """Proves: it is refused, and not counted as eight times the energy or at a million degrees."""
    with xr.set_options(keep_attrs=True):
        spoilt = spoil(steady(SITE))
    with pytest.raises(StateError, match=pattern):
        simulate(SITE, state.initial_state(SITE), spoilt)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_tank_discharges_at_most_the_load_of_its_circuit(share):
    """Proves: no water below its set point, and what is not taken stays in the tank."""
    (tank,) = SITE.machines_of(ChilledWaterTank)
    operation = steady(SITE, share=share, count=16)
    operation = ordered(operation, "tank_discharge", "tank", **{tank.name: tank.power})
    result = simulate(SITE, state.initial_state(SITE, level=1.0), operation)
    water = result["facility_supply_temperature"].sel(circuit="chilled_plant")
    assert float(water.min()) > SITE.equipment["chilled_plant"].supply_temperature - 0.1
    load = result["cooling_load"].sel(circuit="chilled_plant").to_numpy()
    assert load.min() >= 0.0
    given = float((total(result, "tank_discharge") * result["duration"]).sum())
    level = result["tank_level"].to_numpy().ravel()
    assert level[0] - level[-1] >= given
    assert numbers(result["closure"].to_dataset()).max() < 1e-9


@pytest.mark.parametrize(
    ("name", "value", "pattern"),
    [
        ("battery_level", 2.0, "battery_1 = 2 MWh: from 0 to 1.6 MWh"),
        ("tank_level", -1.0, "tank_1"),
        ("facility_supply_temperature", 311.0, "warm_plant = 311 degC"),
    ],
)
def test_impossible_state_is_refused_with_its_machine(name, value, pattern):
    start = state.initial_state(SITE)
    start[name] = start[name].copy(data=np.full(start[name].shape, value))
    with pytest.raises(StateError, match=pattern):
        simulate(SITE, start, steady(SITE))


def test_level_slightly_outside_its_range_is_accepted():
    start = state.initial_state(SITE, level=1.0)
    start["battery_level"] *= 1.05
    simulate(SITE, start, steady(SITE))


@pytest.mark.parametrize("temperature", [-60.0, -25.0, 40.0, 55.0])
def test_weather_outside_a_correlation_is_flagged_and_finite(temperature):
    result = simulate(SITE, state.initial_state(SITE), even(air_temperature=temperature))
    assert np.isfinite(numbers(result)).all()
    flag = result["cooling_plant_extrapolated"]
    assert (flag.sel(circuit="chilled_plant") == 1.0).all()  # YorkCalc: wet bulb -10 to 26.7 degC
    assert (flag.sel(circuit="warm_plant") == 0.0).all()  # dry coolers follow from physics


def test_weather_within_the_correlations_is_not_flagged():
    result = simulate(SITE, state.initial_state(SITE), even(air_temperature=15.0))
    assert (result["cooling_plant_extrapolated"] == 0.0).all()


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.01, 0.05, 0.1, 1.0, 1.3, 3.0])
def test_energy_balance_closes_far_from_the_rating(share):
    full = SITE.machines_of(ITHall)[0].full_power
    result = simulate(SITE, state.initial_state(SITE), even(hall_power=share * full))
    assert np.isfinite(numbers(result)).all()
    assert result["closure"].max() < 1e-9
    over = result["ups_loading"].to_numpy() > 1.0
    assert over.all() == (share > 1.1)


def test_import_rises_with_load_up_to_three_times_the_rating():
    full = SITE.machines_of(ITHall)[0].full_power
    drawn = [
        total(
            simulate(SITE, state.initial_state(SITE), even(hall_power=share * full)),
            "facility_power",
        )[-1]
        for share in np.linspace(0.0, 3.0, 25)
    ]
    assert (np.diff(drawn) > 0.0).all()


def test_almost_standing_water_leaves_at_air_temperature():
    def leaving(rate):
        return heat_rejection.dry_cooler_outlet_temperature(
            0.001,
            np.array([20.0]),
            fan_speed_share=1.0,
            capacity_rate=np.array([rate]),
            rated_air_capacity_rate=1.0,
            rated_conductance=1.0,
        )

    assert leaving(0.0) == pytest.approx([20.0])
    assert leaving(1e-3) == pytest.approx([20.0], abs=1e-9)
