"""Ordered numbers of running chillers, by hand: followed, but never at the cost of cooling."""

import numpy as np
import pytest
import xarray as xr

import sites
from tests.support.runs import steady
from twin.errors import StateError
from twin.relations import SetPoints
from twin.simulation import setpoints, state
from twin.simulation.simulate import simulate

PLANT = "chilled_plant"


def on(plant, load, weather, *, units_on=None):
    """Return how many chillers run, and all that the plant draws."""
    points = (
        None if units_on is None else SetPoints(units_on={plant.name: np.array([float(units_on)])})
    )
    flows = plant.operate(np.array([load]), weather, points)
    return float(flows.details["cooling_plant_units_on"][0]), flows


@pytest.fixture(scope="module")
def hot(outdoors):
    return outdoors(35.0, 24.0)


def test_ordered_number_of_chillers_runs(chilled_plant, hot):
    """Proves: of 8 units of 5 MW two, three or eight carry 8 MW, each in its part-load range."""
    for ordered in (2.0, 3.0, 8.0):
        assert on(chilled_plant, 8.0, hot, units_on=ordered)[0] == ordered


def test_too_few_ordered_units_are_completed(chilled_plant, hot):
    """Proves: 8 MW need two units of 5 MW; with fewer ordered, two run and cool everything."""
    for ordered in (0.0, 1.0):
        running, flows = on(chilled_plant, 8.0, hot, units_on=ordered)
        assert running == 2.0
        assert flows.details["cooling_plant_output"][0] == 8.0
        np.testing.assert_allclose(flows.heat, 8.0 + flows.inputs["medium_voltage"], rtol=1e-12)


def test_ordered_units_are_limited_to_existing_ones(chilled_plant, hot):
    """Proves: of nine ordered units the eight that exist run."""
    assert on(chilled_plant, 8.0, hot, units_on=9.0)[0] == 8.0


def test_free_cooling_needs_no_chillers(chilled_plant, outdoors):
    """Proves: with none ordered, none runs where the economiser carries all, or without a load.

    Two ordered units get their least load, and the economiser the rest.
    """
    cold = outdoors(2.0, 0.0)
    assert on(chilled_plant, 8.0, cold, units_on=0.0)[0] == 0.0
    assert chilled_plant.chillers.compressor_power_and_units(
        np.zeros(1), supply_temperature=18.0, condenser_temperature=np.full(1, 25.0),
        units_on=np.full(1, 2.0),
    ) == (0.0, 0.0)  # fmt: skip
    running, flows = on(chilled_plant, 8.0, cold, units_on=2.0)
    assert running == 2.0
    least = chilled_plant.chillers.min_unit_cooling(
        18.0, flows.details["cooling_plant_condenser_temperature"]
    )
    taken = 8.0 * (1.0 - flows.details["cooling_plant_free_share"])
    np.testing.assert_allclose(taken, 2.0 * least, rtol=0.02)  # but for the heat of the pumps


def test_fans_speed_up_before_an_unordered_unit_starts(chilled_plant, outdoors):
    """Proves: an order of zero holds where the economiser can carry all at full fans.

    Sensitivity: the least power takes a unit there.
    """
    found = []
    for wet in np.arange(8.0, 16.0, 0.5):
        mild = outdoors(wet + 3.0, wet)
        alone = on(chilled_plant, 12.0, mild)[0]
        ordered = on(chilled_plant, 12.0, mild, units_on=0.0)[0]
        assert ordered <= alone
        found.append(ordered == 0.0 < alone)
    assert any(found)


def test_optimal_number_of_units_draws_least(chilled_plant, hot):
    """Proves: with its own number ordered a plant draws the same, with others no less."""
    alone, flows = on(chilled_plant, 18.0, hot)
    least = flows.inputs["medium_voltage"][0]
    assert on(chilled_plant, 18.0, hot, units_on=alone)[1].inputs["medium_voltage"][0] == least
    for ordered in range(9):
        drawn = on(chilled_plant, 18.0, hot, units_on=ordered)[1].inputs["medium_voltage"][0]
        assert drawn >= least - 1e-9


def operation(site, ordered, *, dim="cooling_plant"):
    units = xr.DataArray(
        [[float(n)] for n in ordered], dims=("time", dim), coords={dim: [PLANT]},
        attrs={"units": "1"},
    )  # fmt: skip
    plain = steady(site, count=len(ordered))
    plain["air_temperature"].values[:] = 30.0
    return plain.assign({setpoints.UNITS_ON_VARIABLE: units})


def test_simulation_follows_the_units_of_a_plan():
    """Proves: units go through the doors of the twin; those of a run, on circuits, are no order."""
    site = sites.load_site("small")
    ran = simulate(site, state.initial_state(site), operation(site, [2, 1, 2]))
    assert ran[setpoints.UNITS_ON_VARIABLE].sel(circuit=PLANT).to_numpy().tolist() == [
        2.0,
        1.0,
        2.0,
    ]
    alone = simulate(
        site,
        state.initial_state(site),
        operation(site, [2, 1, 2]).drop_vars(setpoints.UNITS_ON_VARIABLE),
    )
    past = simulate(site, state.initial_state(site), operation(site, [2, 1, 2], dim="circuit"))
    xr.testing.assert_identical(past, alone)


@pytest.mark.parametrize(
    ("ordered", "owner", "said"),
    [
        (1.5, PLANT, "out-of-range"),
        (-1.0, PLANT, "out-of-range"),
        (np.nan, PLANT, "out-of-range"),
        (1.0, "warm_plant", "unsupported"),
        (1.0, "chillers", "unknown-name"),
    ],
)
def test_invalid_numbers_are_refused_by_name(ordered, owner, said):
    site = sites.load_site("small")
    wrong = operation(site, [ordered]).assign_coords(cooling_plant=[owner])
    with pytest.raises(StateError, match=said):
        simulate(site, state.initial_state(site), wrong)
