"""A run in spans equals the run as a whole."""

import numpy as np
import pytest
import xarray as xr

import sites
from tests.support.runs import random_run, steady
from twin.errors import StateError
from twin.simulation import state
from twin.simulation.simulate import simulate, simulate_in_chunks


@pytest.mark.parametrize("span", [1, 5, 16, 99])
def test_spans_together_are_the_whole(span):
    site = sites.load_site("small")
    begin, operation = random_run(site, seed=3, count=16)
    whole = simulate(site, begin, operation)
    parts = list(simulate_in_chunks(site, begin, operation, chunk_size=span))
    assert whole.data_vars
    for name, values in whole.data_vars.items():
        axis = "instant" if "instant" in values.dims else "time"
        pieces = [part[name] for part in parts]
        if axis == "instant":  # a span begins where the one before ended
            pieces[1:] = [piece.isel(instant=slice(1, None)) for piece in pieces[1:]]
        joined = xr.concat(pieces, axis)
        if name != "closure":  # the greatest of a span
            np.testing.assert_allclose(joined, values, rtol=1e-9, atol=1e-12, err_msg=str(name))
        assert joined.attrs == values.attrs
    assert max(float(part["closure"].max()) for part in parts) < 1e-6


def test_set_points_hold_in_every_span():
    site = sites.load_site("small")
    operation = steady(site, count=8)
    warmer = xr.DataArray(
        np.full((8, 1), 41.0),
        dims=("time", "circuit"),
        coords={"circuit": ["warm_plant"]},
        attrs={"units": "degC"},
    )
    operation = operation.assign(facility_supply_set_point=warmer)
    whole = simulate(site, state.initial_state(site), operation)
    *_, last = simulate_in_chunks(site, state.initial_state(site), operation, chunk_size=3)
    name = "facility_supply_temperature"
    np.testing.assert_allclose(last[name], whole[name][-3:], rtol=1e-9)
    assert float(last[name].sel(circuit="warm_plant")[-1]) == pytest.approx(41.0, abs=0.1)


def test_invalid_input_is_refused_before_the_first_span():
    site = sites.load_site("small")
    operation = steady(site, count=8)
    operation["hall_power"].values[-1] = np.nan
    with pytest.raises(StateError, match="hall_power"):
        next(simulate_in_chunks(site, state.initial_state(site), operation, chunk_size=2))


@pytest.mark.parametrize(("name", "factor"), [("hall_power", 1000.0), ("air_temperature", 15.0)])
def test_spans_refuse_what_the_whole_run_refuses(name, factor):
    """Proves: kilowatts and kelvin are no operation of spans either.

    Sensitivity: 1e113 MW were drawn, and water was cooled by air of 300 degC.
    """
    site = sites.load_site("small")
    operation = steady(site, count=8)
    operation[name].values *= factor
    with pytest.raises(StateError, match=name):
        simulate(site, state.initial_state(site), operation)
    with pytest.raises(StateError, match=name):
        next(simulate_in_chunks(site, state.initial_state(site), operation, chunk_size=2))
