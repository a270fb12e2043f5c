"""A point whose unit changes keeps its column: each value is read by the unit of its time."""

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

import sites
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.archive.layout import (
    metadata_to_json,
    read_metadata_changes,
    record_metadata_changes,
)
from telemetry.archive.reader import open_snapshot
from telemetry.journal.format import JournalPosition
from telemetry.live.restored_readings import recent_readings
from telemetry.points.binding import PointBinder
from tests.support.archives import POINT, metadata, value

PLACE = JournalPosition(1, 30)


def written(folder, *samples):
    """Write samples in one commit, as after a start."""
    archive = Archive(folder / "archive", "rhine")
    for sample in samples:
        archive.add(sample, PLACE)
    archive.commit(include_open=True)


def levels(folder):
    found = open_archive(sites.load_site("rhine"), root=folder)["battery_level"]
    return found.squeeze().values.tolist()


def test_values_keep_the_unit_of_their_time(tmp_path):
    """Proves: 50 % and then 0.5 of 80 MWh are 40 MWh each, whatever the unit is today.

    Sensitivity: 4000 MWh of a battery of 80, in all that was heard before, as soon as the unit was
    another one. What came with the change is of either unit, so it is none.
    """
    written(tmp_path, metadata(unit="%"), value(0, 50.0), value(100, 50.0))
    written(tmp_path, metadata(unit="1"), value(900, 0.5))
    written(tmp_path, metadata(unit="1"), value(1800, 0.5))
    assert levels(tmp_path) == pytest.approx([40.0, 40.0, np.nan, 40.0], nan_ok=True)
    written(tmp_path, metadata(unit="%"), value(2700, 50.0))
    written(tmp_path, value(3600, 25.0))
    expected = [40.0, 40.0, np.nan, 40.0, np.nan, 20.0]
    assert levels(tmp_path) == pytest.approx(expected, nan_ok=True)
    sent = open_archive("rhine", group="points", root=tmp_path)["value"].sel(point=POINT)
    assert sent.values.tolist() == [50.0, 50.0, 0.5, 0.5, 50.0, 25.0]


def test_restart_restores_no_values_of_other_unit(tmp_path):
    written(tmp_path, metadata(unit="%"), value(0, 50.0))
    written(tmp_path, metadata(unit="1"), value(900, 0.5))
    assert list(recent_readings(tmp_path / "archive", "rhine")) == []
    written(tmp_path, value(1800, 0.25))
    assert [one.value for one in recent_readings(tmp_path / "archive", "rhine")] == [0.25]


def test_repeated_metadata_removes_nothing(tmp_path):
    written(tmp_path, metadata(unit="%"), value(0, 50.0))
    written(tmp_path, metadata(unit="%"), value(900, 25.0))
    assert levels(tmp_path) == [40.0, 20.0]


def test_later_change_does_not_affect_written_minute(tmp_path):
    """Proves: a minute is written 30 s after its end, so the change comes with the one before.

    Sensitivity: what was heard of the next until then was 4000 MWh of a battery of 80.
    """
    archive = Archive(tmp_path / "archive", "rhine")
    archive.add(metadata(unit="%"), PLACE)
    for second in range(240):
        if second == 130:
            archive.add(metadata(unit="1"), PLACE)
        archive.add(value(second, 50.0 if second < 130 else 0.5), PLACE)
        if archive.is_commit_due:
            archive.commit()
    archive.commit(include_open=True)
    found = levels(tmp_path)
    assert found[:60] + found[180:] == [40.0] * 120
    assert set(found) - {40.0} == {one for one in found if np.isnan(one)}
    assert all(np.isnan(one) for one in found[60:130])


def test_unit_change_within_minute_gives_nan(tmp_path):
    """Sensitivity: 4000 MWh, where a gateway had another unit for a moment, or at the first."""
    written(tmp_path, metadata(unit="1"), value(0, 50.0), metadata(unit="%"), value(1, 50.0))
    written(tmp_path, value(60, 50.0))
    written(tmp_path, metadata(unit="1"), value(120, 0.5), metadata(unit="%"), value(121, 50.0))
    written(tmp_path, value(180, 50.0))
    nan = np.nan
    assert levels(tmp_path) == pytest.approx([nan, nan, 40.0, nan, nan, 40.0], nan_ok=True)


class Attributes(dict):
    """Those of a root, that tell how often they were written."""

    written = 0

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        self.written += 1


def test_simultaneous_changes_are_written_once():
    """Sensitivity: 13 s for 2,000 points and hours for a site, as each write had all before."""
    root = SimpleNamespace(attrs=Attributes())
    points = [f"Sensor/Temperature/rhine/{number}/t" for number in range(9)]
    before = {one: metadata_to_json(metadata(one, unit="C")) for one in points}
    record_metadata_changes(
        root, before, {one: [metadata(one, unit="degC")] for one in points}, span=(0, 60)
    )
    assert root.attrs.written == 1
    assert list(read_metadata_changes(root)) == points


class Counted(PointBinder):
    """Knows how many there are."""

    made = 0

    def __init__(self, site):
        Counted.made += 1
        super().__init__(site)


def test_earlier_metadata_is_bound_together(tmp_path, monkeypatch):
    """Sensitivity: one binding a change, 60 ms each at `rhine`, so opening took minutes."""
    monkeypatch.setattr("telemetry.archive.reader.PointBinder", Counted)
    for second, unit in enumerate(["%", "1", "%", "1"]):
        written(tmp_path, metadata(unit=unit), value(3600 * second, 0.5))
        written(tmp_path, value(3600 * second + 1800, 0.5))
    assert levels(tmp_path)[-1] == 40.0
    assert Counted.made == 2


@pytest.mark.slow
def test_changes_are_kept_as_long_as_values(tmp_path):
    """Proves: two disagreeing gateways neither fill the archive nor slow its commits."""
    for second in range(0, 600, 60):
        unit = "%" if second % 120 else "1"
        written(tmp_path, metadata(unit=unit), value(second, 0.5), value(second + 59, 0.5))
    root = open_snapshot(tmp_path / "archive").root
    assert [len(turns) for turns in read_metadata_changes(root).values()] == [1]
    assert levels(tmp_path)[2:] == pytest.approx([np.nan] * 18, nan_ok=True)
    archive = Archive(tmp_path / "archive", "rhine", retention={"raw": timedelta(days=1)})
    for second in range(3):
        archive.add(value(3 * 86_400 + second, 0.5), PLACE)
    archive.commit(include_open=True)
    archive.maintain(is_whole=True)
    assert read_metadata_changes(open_snapshot(tmp_path / "archive").root) == {}
    assert levels(tmp_path) == [0.4] * 3


def test_values_of_earlier_machine_are_left_out(tmp_path):
    """Proves: a tag path that is given to another object takes no history along."""
    other = "BESS/GenericPoint/rhine/spare/level"
    written(tmp_path, metadata(other, unit="furlong"), value(0, 50.0, point=other))
    written(tmp_path, metadata(other, unit="%"), value(900, 50.0, point=other))
    written(tmp_path, value(1800, 25.0, point=other))
    assert levels(tmp_path) == pytest.approx([np.nan, np.nan, 20.0], nan_ok=True)
