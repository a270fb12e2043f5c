"""The initial state, and states that are refused."""

import numpy as np
import pytest

import sites
from tests.support.random_sites import random_site
from tests.support.seeds import seeds
from twin import time_axes
from twin.errors import StateError, UnitError
from twin.simulation import state


@pytest.fixture
def small():
    return sites.load_site("small")


def test_initial_state_of_a_site(small):
    calm = state.initial_state(small, "2026-07-01T06:00", peak_power=3.0)
    # a window of 0.2 x 1.6 to 1.6 MWh, half full; 28 racks that wait at 24 kW
    assert float(calm["battery_level"].sel(battery="battery_1")) == pytest.approx(0.96)
    assert float(calm["grid_import_power"]) == pytest.approx(0.672)
    supply = calm["facility_supply_temperature"].to_series().to_dict()
    assert supply == {"warm_plant": 38.0, "chilled_plant": 18.0}
    assert float(calm["peak_power"]) == 3.0
    assert calm["instant"].to_numpy() == time_axes.to_utc("2026-07-01T06:00")


@pytest.mark.parametrize(("level", "kept"), [(0.0, 0.32), (1.0, 1.6)])
def test_initial_levels_are_within_their_windows(small, level, kept):
    assert float(state.initial_state(small, level=level)["battery_level"][0]) == pytest.approx(kept)


def test_zero_import_differs_from_idle_import(small):
    assert float(state.initial_state(small, grid_import_power=0.0)["grid_import_power"]) == 0.0


@pytest.mark.parametrize("seed", seeds(range(6)))
def test_every_site_has_a_valid_initial_state(seed):
    site = random_site(seed)
    state.check_state(site, state.initial_state(site))


def test_a_missing_variable_is_named(small):
    with pytest.raises(UnitError, match=r"tank_level.*missing"):
        state.check_state(small, state.initial_state(small).drop_vars("tank_level"))


def test_a_missing_unit_is_named(small):
    calm = state.initial_state(small)
    del calm["peak_power"].attrs["units"]
    with pytest.raises(UnitError, match="peak_power"):
        state.check_state(small, calm)


def test_state_on_wrong_axes_is_refused(small):
    """Sensitivity: a level that names no battery ended in a trace-back."""
    calm = state.initial_state(small)
    level = calm["battery_level"]
    wrong = [
        (calm.assign(battery_level=level.mean("battery", keep_attrs=True)), "on battery"),
        (calm.assign(battery_level=level.astype(str)), "<U32: real numbers"),
        (calm.assign(peak_power=calm["peak_power"].expand_dims("tank")), "on no axis"),
        (calm.drop_vars("instant"), "state, instant: .*missing"),
    ]
    for one, words in wrong:
        with pytest.raises(StateError, match=words):
            state.check_state(small, one)


def test_state_of_another_site_is_refused(small):
    other = state.initial_state(small).assign_coords(battery=["battery_9"])
    with pytest.raises(StateError, match=r"battery_9.*battery_1"):
        state.check_state(small, other)


@pytest.mark.parametrize("nonsense", [np.nan, np.inf])
def test_all_non_finite_values_are_reported_together(small, nonsense):
    broken = state.initial_state(small)
    broken["battery_level"][0] = nonsense
    broken["peak_power"].values = np.array(nonsense)
    with pytest.raises(StateError) as refused:
        state.check_state(small, broken)
    places = {fault.location for fault in refused.value.issues}
    assert places == {"state, battery_level, battery_1", "state, peak_power"}
