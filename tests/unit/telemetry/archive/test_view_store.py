"""A stored view is written block by block, and knows after any end how far it is."""

import json

import numpy as np
import pytest
import xarray as xr

import sites
from telemetry.archive.view_store import TEMPERATURE_RESOLUTION_K, ViewStore, open_view
from tests.support.runs import steady
from twin.errors import ArchiveError
from twin.racks import view
from twin.racks.view import block_steps, view_blocks
from twin.simulation import state
from twin.simulation.simulate import simulate

ORIGIN = {"site": "small", "seed": "0"}


@pytest.fixture
def pieces(monkeypatch):
    """Return a view of two hours of racks in two blocks."""
    monkeypatch.setattr(view, "BLOCK_BYTES", 1.0)
    site = sites.load_site("small")
    run = simulate(site, state.initial_state(site), steady(site, count=8))
    return list(view_blocks(site, [run]))


def opened(folder, pieces, origin=ORIGIN):
    time = np.concatenate([piece["time"].to_numpy() for piece in pieces])
    return ViewStore.open(
        folder, time, block=block_steps(sites.load_site("small"), "rack"), origin=origin
    )


def test_what_is_written_is_read(tmp_path, pieces):
    store = opened(tmp_path / "racks", pieces)
    for piece in pieces:
        store.write(piece)
    assert store.next_time is None
    found = open_view(tmp_path / "racks")
    whole = xr.concat([piece.drop_vars("instant") for piece in pieces], "time")
    assert set(found.data_vars) == set(whole.data_vars)
    for name, values in whole.data_vars.items():
        kelvin = 0.51 * TEMPERATURE_RESOLUTION_K if values.attrs["units"] == "degC" else 0.0
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=kelvin, err_msg=str(name))
        assert found[name].attrs["units"] == values.attrs["units"]
    for name in ("rack", "unit", "hall", "serving", "time", "duration"):
        np.testing.assert_array_equal(found[name].to_numpy(), whole[name].to_numpy())


def test_restarted_writer_continues(tmp_path, pieces):
    first = opened(tmp_path, pieces)
    assert first.next_time == pieces[0]["time"].to_numpy()[0]
    first.write(pieces[0])
    again = opened(tmp_path, pieces)
    assert again.written_step_count == 60
    assert again.next_time == pieces[1]["time"].to_numpy()[0]
    assert open_view(tmp_path).sizes["time"] == 60
    again.write(pieces[1])
    assert open_view(tmp_path).sizes["time"] == 120


def test_torn_block_is_rewritten(tmp_path, pieces):
    store = opened(tmp_path, pieces)
    store.write(pieces[0])
    store.write(pieces[1])
    attributes = json.loads((tmp_path / "zarr.json").read_text())
    attributes["attributes"]["done"] = 60  # as if killed before it said so
    (tmp_path / "zarr.json").write_text(json.dumps(attributes))
    assert open_view(tmp_path).sizes["time"] == 60
    opened(tmp_path, pieces).write(pieces[1])
    np.testing.assert_allclose(
        open_view(tmp_path)["rack_power"][60:], pieces[1]["rack_power"], rtol=1e-6
    )


def test_other_view_is_not_overwritten(tmp_path, pieces):
    opened(tmp_path, pieces).write(pieces[0])
    with pytest.raises(ArchiveError, match="holds another view; name another folder"):
        opened(tmp_path, pieces, ORIGIN | {"seed": "1"})
    with pytest.raises(ArchiveError, match="holds another view"):
        opened(tmp_path, pieces[:1])


def test_a_folder_of_other_things_is_left_alone(tmp_path, pieces):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ArchiveError, match="holds no view"):
        opened(tmp_path, pieces)
    assert (tmp_path / "letter.txt").read_text() == "dear"
    with pytest.raises(ArchiveError, match="holds no view"):
        open_view(tmp_path / "nowhere")


def test_a_block_out_of_order_is_refused(tmp_path, pieces):
    store = opened(tmp_path, pieces)
    with pytest.raises(ArchiveError, match="write the blocks in order"):
        store.write(pieces[1])


@pytest.mark.parametrize("value", [400.0, np.nan])
def test_temperatures_beyond_the_packing_are_refused(tmp_path, pieces, value):
    store = opened(tmp_path, pieces)
    hot = pieces[0].copy(deep=True)
    hot["chip_temperature"].values[3, 2] = value
    with pytest.raises(ArchiveError, match="chip_temperature"):
        store.write(hot)
    assert store.written_step_count == 0
