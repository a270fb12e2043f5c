"""Values of one machine by its label, compared with xarray."""

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


def test_machine_values_agree_with_xarray(state):
    for name, dim in (("facility_supply_temperature", "circuit"), ("tank_level", "tank")):
        for owner in state[dim].to_numpy():
            expected = state[name].sel({dim: owner}).to_numpy()
            np.testing.assert_array_equal(machine_values(state, name, owner), expected)
        expected = state[name].to_series().to_dict()
        assert values_by_machine(state, name) == expected


@pytest.mark.parametrize("axis", [0, 1])
def test_other_axes_are_kept(axis):
    grid = twin.regular_axes(twin.to_utc("2026-07-01"), 4)
    powers = np.arange(8.0).reshape(4, 2)
    operation = grid.assign(
        hall_power=(("time", "hall"), powers), hall=("hall", ["hall_1", "hall_2"])
    ).transpose(*(("time", "hall")[:: 1 if axis else -1]), ...)
    np.testing.assert_array_equal(machine_values(operation, "hall_power", "hall_2"), powers[:, 1])


def test_only_the_selected_value_is_set(state):
    before = values_by_machine(state, "cooling_plant_output")
    set_machine_value(state, "cooling_plant_output", "chilled_plant", value=3.5)
    assert values_by_machine(state, "cooling_plant_output") == before | {"chilled_plant": 3.5}


def test_unknown_label_is_a_key_error(state):
    for name, owner in (("cooling_plant_output", "no_plant"), ("no_word", "chilled_plant")):
        with pytest.raises(KeyError):
            machine_values(state, name, owner)
