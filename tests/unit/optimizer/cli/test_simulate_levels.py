"""`gigatwin simulate --level`: racks and chips in a folder, and what a killed run has left."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import sites
import telemetry
from optimizer.cli import app
from optimizer.reporting import run_files
from optimizer.reporting.run_files import DetailRequest, write_detail
from tests.support.runs import steady
from twin.racks import view

DAY = ("simulate", "small", "--start", "2026-06-16", "--days", "1", "--utilisation", "0.6")


def run(*words):
    return CliRunner().invoke(app, list(map(str, [*DAY, *words])))


def test_rack_level_has_the_same_totals(tmp_path):
    plain = run("--json", tmp_path / "plain.json")
    racks = run("--level", "rack", "--out", tmp_path / "r.zarr", "--json", tmp_path / "racks.json")
    assert (plain.exit_code, racks.exit_code) == (0, 0), racks.output
    both = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "racks")]
    assert both[1].pop("notes") == both[0].pop("notes")
    assert both[1].pop("gaps") == both[0].pop("gaps")
    assert both[1].pop("beyond") == both[0].pop("beyond") == []
    for key in ("extrapolated", "frost"):
        assert both[1].pop(key) == both[0].pop(key) == []
    assert both[1] == pytest.approx(both[0], rel=1e-9, abs=1e-12)
    found = telemetry.open_view(tmp_path / "r.zarr")
    assert found["rack_power"].shape == (1440, 28)
    # 28 racks between 24 and 132 kW at 60 %: 0.0888 MW each
    np.testing.assert_allclose(found["rack_power"].sum("rack"), 28 * 0.0888, rtol=1e-5)
    assert "1440/1440 steps" in racks.output


def test_chip_level_covers_a_quarter_hour(tmp_path):
    span = ("--from", "2026-06-16T10:00", "--to", "2026-06-16T10:15")
    done = run("--level", "chip", "--level-step", "5s", *span, "--out", tmp_path / "c.zarr")
    assert done.exit_code == 0, done.output
    found = telemetry.open_view(tmp_path / "c.zarr")
    assert found["chip_temperature"].shape == (180, 28, 72)
    assert float(found["chip_temperature"].min()) > 40.0
    assert float(found["chip_temperature"].max()) < 80.0


REFUSED = [
    (("--level", "rack"), "--out DIR.zarr"),
    (("--level", "row"), "'row' is not one of"),
    (("--level", "rack", "--out", "r", "--level-step", "fast"), "divides --step"),
    (("--level", "rack", "--out", "r", "--level-step", "1e-9s"), "divides --step"),
    (
        ("--from", "2026-06-16T10:00"),
        "--from = 2026-06-16T10:00: no value",
    ),
    (("--to", "2026-06-16T10:00"), "--to = 2026-06-16T10:00: no value"),
    (("--level-step", "1s"), "--level-step = 1s: no value"),
    (("--seed", "0"), "--seed = 0: no value"),
    (("--level", "rack", "--out", "r", "--level-step", "7min"), "[out-of-range]"),
    (("--level", "rack", "--out", "r", "--from", "2026-07-01"), "time = "),
]


@pytest.mark.parametrize(("words", "expected"), REFUSED)
def test_invalid_options_are_refused(words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code != 0
    assert expected in " ".join(done.stderr.replace("│", "").split())
    assert not Path("r").exists()


def test_folder_of_another_run_is_kept(tmp_path):
    words = ("--level", "rack", "--out", tmp_path / "r.zarr")
    assert run(*words).exit_code == 0
    done = run(*words, "--seed", "1")
    assert done.exit_code == 1
    assert "holds another view" in done.stderr


def test_killed_run_resumes_with_equal_results(tmp_path, monkeypatch):
    monkeypatch.setattr(view, "BLOCK_BYTES", 1.0)  # blocks of an hour
    monkeypatch.setattr(run_files, "MIN_CHUNK_INTERVALS", 8)
    site, operation = sites.load_site("small"), steady(sites.load_site("small"), count=24)
    operation["hall_power"].values[7:] *= 1.4
    detail = DetailRequest(level="rack", step=np.timedelta64(1, "m"))
    whole = write_detail(site, operation, detail, folder=tmp_path / "whole")

    def die(done, _of):
        if done >= 180:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_detail(site, operation, detail, folder=tmp_path / "torn", on_progress=die)
    assert telemetry.open_view(tmp_path / "torn").sizes["time"] == 180
    progress = []
    again = write_detail(
        site,
        operation,
        detail,
        folder=tmp_path / "torn",
        on_progress=lambda d, _: progress.append(d),
    )
    assert progress == [180, 240, 300, 360]
    np.testing.assert_allclose(again["facility_power"], whole["facility_power"], rtol=1e-12)
    left, right = (telemetry.open_view(tmp_path / name) for name in ("whole", "torn"))
    assert set(left.data_vars) > {"closure"}
    for name in left.data_vars:
        if name != "closure":
            np.testing.assert_allclose(left[name], right[name], rtol=1e-6, atol=0.011)
    complete = []
    write_detail(
        site,
        operation,
        detail,
        folder=tmp_path / "torn",
        on_progress=lambda d, _: complete.append(d),
    )
    assert complete == [360]
