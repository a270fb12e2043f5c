"""Tables and files of an archive, and questions that it cannot answer."""

import csv
import importlib
import io
import re
import warnings

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.archive.export import export
from telemetry.journal.format import JournalPosition
from telemetry.points.site_points import list_points
from tests.support.archives import POINT, fill
from twin.errors import ArchiveError, IssueCode


def test_exports_contain_readings(tmp_path):
    pytest.importorskip("pyarrow")
    fill(tmp_path, range(0, 100, 5))
    chips = open_archive("rhine", group="racks", root=tmp_path)
    assert export(chips, tmp_path / "chips.parquet") == 20 * 2 * 3
    parquet = importlib.import_module("pyarrow.parquet")
    table = parquet.read_table(tmp_path / "chips.parquet").to_pandas()
    assert table["power"].tolist() == chips["power"].values.ravel().tolist()
    assert set(table["rack"]) == {"hall_1/r0001", "hall_1/r0002"}
    assert export(chips, tmp_path / "chips.nc") == 20
    with xr.open_dataset(tmp_path / "chips.nc", engine="h5netcdf") as read:
        assert np.array_equal(read["power"].values, chips["power"].values)
    points = open_archive("rhine", group="points", root=tmp_path)
    assert export(points, tmp_path / "points.csv") == 21
    rows = list(csv.DictReader(io.StringIO((tmp_path / "points.csv").read_text())))
    assert rows[1] == {
        "time": "2026-07-01T00:00:05Z",
        "point": POINT,
        "value": "5.0",
        "quality": "1",
    }
    with pytest.raises(ArchiveError, match=r"ends in \.parquet, \.nc, \.csv"):
        export(points, tmp_path / "points.xls")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".draft")]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_export_without_roll_ups_has_no_rows(tmp_path, ending):
    """Proves: before the compaction nothing is exported, and it is said why; then what was heard.

    Sensitivity: a count of 0 is taken for something that was heard, and all is nan.
    """
    pytest.importorskip("pyarrow")
    to = tmp_path / f"points.{ending}"
    fill(tmp_path / "now", range(0, 1000, 5))
    fill(tmp_path / "later", range(0, 1000, 5), is_compacted=True)
    asked = {"group": "points", "resolution": "15min"}
    with pytest.raises(ArchiveError, match="not rolled up yet"):
        export(open_archive("rhine", root=tmp_path / "now", **asked), to)
    assert not to.exists()
    assert export(open_archive("rhine", root=tmp_path / "later", **asked), to) == 2


@pytest.mark.parametrize(
    ("asked", "code", "place"),
    [
        ({"group": "foo"}, IssueCode.UNKNOWN_NAME, "group = foo"),
        ({"group": "racks", "resolution": "5min"}, IssueCode.UNKNOWN_NAME, "resolution = 5min"),
        ({"resolution": "1h"}, IssueCode.UNSUPPORTED, "resolution = 1h"),
        ({"group": "racks", "start": "garbage"}, IssueCode.INVALID_FORMAT, "start = garbage"),
        ({"group": "racks", "end": "2026-13-01"}, IssueCode.INVALID_FORMAT, "end = 2026-13-01"),
        (
            {"group": "racks", "start": "2026-07-02", "end": "2026-07-01"},
            IssueCode.TIME_ORDER,
            "start = 2026-07-02",
        ),
    ],
)
def test_invalid_request_is_a_usage_error(tmp_path, asked, code, place):
    """It was reported as corrupt, with the remedy of a corrupt archive."""
    fill(tmp_path, range(0, 100, 5))
    with pytest.raises(ArchiveError, match=re.escape(place)) as error:
        open_archive("rhine", root=tmp_path, **asked)
    assert error.value.code is code


@pytest.mark.parametrize("start", ["2026-07-01T00:00:50Z", "2026-07-01T02:00:50+02:00"])
def test_time_with_offset_is_converted_to_utc(tmp_path, start):
    """Proves: 50 s of UTC, and nothing beside it.

    Sensitivity: numpy printed a warning about time zones during the export.
    """
    fill(tmp_path, range(0, 100, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_archive("rhine", root=tmp_path, group="racks", start=start)
    assert found["time"].values[0] == np.datetime64("2026-07-01T00:00:50")
    assert found.sizes["time"] == 10


def test_invalid_export_is_refused_with_remedy(tmp_path):
    folder = fill(tmp_path, range(0, 100, 5))
    archive = Archive(folder, "rhine")
    for listed in list_points(sites.load_site("rhine")):
        archive.add(listed.metadata, JournalPosition(1, 31))
    archive.commit(include_open=True)
    file = tmp_path / "a.csv"
    for words, reason in (
        ((), f"run `gigatwin archive export rhine {file} --group points`, or `gigatwin archive"),
        (("--from", "2027-01-01", "--to", "2026-01-01"), "the end is not later"),
    ):
        told_by = ["archive", "export", "rhine", str(file), "--state", str(tmp_path), *words]
        found = CliRunner().invoke(app, told_by)
        assert found.exit_code == 1
        assert reason in found.stderr
    assert not file.exists()
