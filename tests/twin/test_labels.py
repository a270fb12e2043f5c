"""Values of one machine, by the place of its label: the same as xarray finds."""

import numpy as np
import pytest

import sites
import twin
from twin.variables import machine_values, set_machine_value, values_by_machine


@pytest.fixture(scope="module")
def site():
    return sites.load_site("rhine")


@pytest.fixture
def state(site):
    return twin.initial_state(site)


def test_values_of_one_machine_are_those_that_xarray_finds(state):
    for name, dim in (("facility_supply_temperature", "circuit"), ("tank_level", "tank")):
        for owner in state[dim].to_numpy():
            expected = state[name].sel({dim: owner}).to_numpy()
            np.testing.assert_array_equal(machine_values(state, name, owner), expected)
        expected = state[name].to_series().to_dict()
        assert values_by_machine(state, name) == expected


@pytest.mark.parametrize("axis", [0, 1])
def test_the_other_axes_stay(axis):
    grid = twin.regular_axes(twin.to_utc("2026-07-01"), 4)
    powers = np.arange(8.0).reshape(4, 2)
    told = grid.assign(
        hall_power=(("time", "hall"), powers), hall=("hall", ["hall_1", "hall_2"])
    ).transpose(*(("time", "hall")[:: 1 if axis else -1]), ...)
    np.testing.assert_array_equal(machine_values(told, "hall_power", "hall_2"), powers[:, 1])


def test_one_value_is_set_and_no_other(state):
    before = values_by_machine(state, "cooling_plant_output")
    set_machine_value(state, "cooling_plant_output", "chilled_plant", value=3.5)
    assert values_by_machine(state, "cooling_plant_output") == before | {"chilled_plant": 3.5}


def test_what_is_not_there_is_a_key_error(state):
    for name, owner in (("cooling_plant_output", "no_plant"), ("no_word", "chilled_plant")):
        with pytest.raises(KeyError):
            machine_values(state, name, owner)
