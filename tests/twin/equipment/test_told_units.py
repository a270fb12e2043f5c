"""Chillers that are told to run, by hand: followed, and never at the cost of cooling."""

import numpy as np
import pytest
import xarray as xr

import sites
from tests.runs import steady
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


def test_as_many_run_as_are_told(chilled_plant, hot):
    """Proves: of 8 units of 5 MW two, three or eight carry 8 MW, each in its part-load range."""
    for told in (2.0, 3.0, 8.0):
        assert on(chilled_plant, 8.0, hot, units_on=told)[0] == told


def test_too_few_are_joined_by_as_many_as_the_load_needs(chilled_plant, hot):
    """Proves: 8 MW need two units of 5 MW: told one or none, two run, and all is cooled."""
    for told in (0.0, 1.0):
        running, flows = on(chilled_plant, 8.0, hot, units_on=told)
        assert running == 2.0
        assert flows.details["cooling_plant_output"][0] == 8.0
        np.testing.assert_allclose(flows.heat, 8.0 + flows.inputs["medium_voltage"], rtol=1e-12)


def test_more_than_there_are_do_not_run(chilled_plant, hot):
    """Proves: a unit out of service is not run: of nine told, the eight that there are do."""
    assert on(chilled_plant, 8.0, hot, units_on=9.0)[0] == 8.0


def test_free_cooling_needs_none(chilled_plant, outdoors):
    """Proves: told none, none runs where the economiser carries all; nor any without a load.

    Two that are told get the load below which they would cycle, and the economiser the rest.
    """
    cold = outdoors(2.0, 0.0)
    assert on(chilled_plant, 8.0, cold, units_on=0.0)[0] == 0.0
    assert chilled_plant.chillers.power(
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


def test_fans_turn_faster_before_a_unit_that_is_not_told_starts(chilled_plant, outdoors):
    """Proves: where the economiser can carry all at full fans and need not, the told zero holds.

    Sensitivity: the least power takes a unit there.
    """
    found = []
    for wet in np.arange(8.0, 16.0, 0.5):
        mild = outdoors(wet + 3.0, wet)
        alone = on(chilled_plant, 12.0, mild)[0]
        told = on(chilled_plant, 12.0, mild, units_on=0.0)[0]
        assert told <= alone
        found.append(told == 0.0 < alone)
    assert any(found)


def test_the_number_that_takes_least_power_draws_least(chilled_plant, hot):
    """Proves: told what it would run by itself a plant draws the same, told others no less."""
    alone, flows = on(chilled_plant, 18.0, hot)
    least = flows.inputs["medium_voltage"][0]
    assert on(chilled_plant, 18.0, hot, units_on=alone)[1].inputs["medium_voltage"][0] == least
    for told in range(9):
        drawn = on(chilled_plant, 18.0, hot, units_on=told)[1].inputs["medium_voltage"][0]
        assert drawn >= least - 1e-9


def operation(site, told, *, dim="cooling_plant"):
    units = xr.DataArray(
        [[float(n)] for n in told], dims=("time", dim), coords={dim: [PLANT]},
        attrs={"units": "1"},
    )  # fmt: skip
    plain = steady(site, count=len(told))
    plain["air_temperature"].values[:] = 30.0
    return plain.assign({setpoints.UNITS_ON: units})


def test_a_site_runs_through_the_units_of_a_plan():
    """Proves: units go through the doors of the twin; those of a run, on circuits, are no order."""
    site = sites.load_site("small")
    ran = simulate(site, state.initial_state(site), operation(site, [2, 1, 2]))
    assert ran[setpoints.UNITS_ON].sel(circuit=PLANT).to_numpy().tolist() == [2.0, 1.0, 2.0]
    alone = simulate(
        site, state.initial_state(site), operation(site, [2, 1, 2]).drop_vars(setpoints.UNITS_ON)
    )
    past = simulate(site, state.initial_state(site), operation(site, [2, 1, 2], dim="circuit"))
    xr.testing.assert_identical(past, alone)


@pytest.mark.parametrize(
    ("told", "owner", "said"),
    [
        (1.5, PLANT, "out-of-range"),
        (-1.0, PLANT, "out-of-range"),
        (np.nan, PLANT, "out-of-range"),
        (1.0, "warm_plant", "unsupported"),
        (1.0, "chillers", "unknown-name"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(told, owner, said):
    site = sites.load_site("small")
    wrong = operation(site, [told]).assign_coords(cooling_plant=[owner])
    with pytest.raises(StateError, match=said):
        simulate(site, state.initial_state(site), wrong)
