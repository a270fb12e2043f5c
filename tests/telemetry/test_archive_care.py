"""Verify, backup, restore and export of an archive, and its replay."""

import csv
import importlib
import io
import json
import re
import tarfile

import icechunk
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import sites
from optimizer.cli.root import app
from optimizer.service.folder import StateFolder
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.archive.copying import backup, restore
from telemetry.archive.export import export
from telemetry.archive.losses import tell
from telemetry.archive.opening import FAILURES
from telemetry.archive.panics import panics_as_errors
from telemetry.archive.snapshot import BRANCH
from telemetry.archive.store import on_disk, told
from telemetry.archive.verifying import verify
from telemetry.codec import decode, encode
from telemetry.journal import Position
from telemetry.listing import list_points
from telemetry.quality import Flag
from telemetry.replay import play, said
from tests.telemetry.archives import POINT, SECOND, START, batch, metadata, value
from twin.errors import ArchiveError, BrokerError


def fill(folder, seconds, *, is_compacted=False):
    archive = Archive(folder / "archive", "rhine")
    archive.add(metadata(), Position(1, 30))
    for second in seconds:
        archive.add(batch("r0001", second), Position(1, 30))
        archive.add(batch("r0002", second, value=1.0), Position(1, 30))
        archive.add(value(second, float(second)), Position(1, 30))
    archive.add(value(99, None), Position(1, 30), flag=Flag.BAD_SOURCE)
    archive.commit(everything=True)
    if is_compacted:
        archive.keep_up(is_whole=True)
    return folder / "archive"


@pytest.mark.parametrize("is_compacted", [False, True])
def test_verify_counts_what_is_there(tmp_path, is_compacted):
    found = verify(fill(tmp_path, range(0, 100, 5), is_compacted=is_compacted))
    assert found.lost == []
    assert found.points == 20 * 2 * 3 * 5 + 20 + 1
    assert found.open_hours == (0 if is_compacted else 2)
    assert found.bytes_per_point > 0


def test_verify_lists_what_is_spoilt_and_the_rest_is_read(tmp_path):
    folder = fill(tmp_path, range(0, 4000, 50), is_compacted=True)
    chunks = sorted((folder / "store" / "chunks").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(chunks[-1].read_bytes())
    data[len(data) // 4] ^= 4
    chunks[-1].write_bytes(data)
    found = verify(folder)
    (lost,) = found.lost
    assert lost["group"] in {"racks", "points"}
    assert lost["from"].startswith("2026-07-01T00:00:00")
    assert "checksum differs" in lost["reason"]


def commits_of(path):
    """Return whether the last commit can be read, and how many before it can be."""
    try:
        with panics_as_errors():
            held = icechunk.Repository.open(on_disk(path))
            is_read = bool(told(held))
    except FAILURES:
        return False, 0
    try:
        return is_read, len(list(held.ancestry(branch=BRANCH)))
    except FAILURES:
        return is_read, 0


def test_heads_that_can_be_read_and_not_written_are_mended(tmp_path):
    folder = fill(tmp_path, range(0, 240, 60))
    path = folder / "store" / "repo"
    sound, (_, count) = path.read_bytes(), commits_of(path.parent)
    assert count > 2
    for at in range(len(sound)):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :])
        if is_found := commits_of(path.parent) == (True, 0):
            break
    assert is_found
    archive = Archive(folder, "rhine")
    archive.add(batch("r0001", 300), Position(1, 10_000))
    with pytest.raises(ArchiveError, match="behind the journal; it is being read again"):
        archive.commit(everything=True)
    assert len(archive.set_aside) == 1
    archive.rewind()
    archive.caught_up()
    archive.add(batch("r0001", 300), Position(1, 10_000))
    assert archive.commit(everything=True)
    assert "gone back to" in verify(folder).lost[0]["reason"]
    held = open_archive("rhine", group="racks", root=tmp_path)
    assert held.time.values[-1] == (START + 300 * SECOND).astype("datetime64[ns]")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_no_flipped_byte_goes_unnoticed(tmp_path, seed):
    folder = fill(tmp_path, range(0, 200, 10), is_compacted=bool(seed % 2))
    before = {g: open_archive("rhine", group=g, root=tmp_path).load() for g in ("racks", "points")}
    dice = np.random.default_rng(seed)
    files = [path for path in (folder / "store" / "chunks").iterdir() if path.is_file()]
    path = files[dice.integers(len(files))]
    data = bytearray(path.read_bytes())
    data[dice.integers(len(data))] ^= 1 << int(dice.integers(8))
    path.write_bytes(data)
    try:
        if verify(folder).lost:
            return
        for group, dataset in before.items():  # it was of a roll-up, or of no use to anybody
            assert open_archive("rhine", group=group, root=tmp_path).load().identical(dataset)
    except ArchiveError:
        return


def test_a_backup_is_restored_and_what_was_there_is_set_aside(tmp_path):
    folder = fill(tmp_path, range(0, 100, 5))
    before = open_archive("rhine", group="racks", root=tmp_path).load()
    assert backup(folder, tmp_path / "archive.tar") > 0
    fill(tmp_path, range(100, 200, 5))
    verdict = restore(tmp_path / "archive.tar", folder)
    assert verdict.lost == []
    assert open_archive("rhine", group="racks", root=tmp_path).load().identical(before)
    assert len(list(folder.glob("store.replaced-*"))) == 1
    with pytest.raises(ArchiveError, match="there already"):
        backup(folder, tmp_path / "archive.tar")


def test_what_is_no_backup_changes_nothing(tmp_path):
    folder = fill(tmp_path, range(0, 100, 5))
    before = open_archive("rhine", group="racks", root=tmp_path).load()
    (tmp_path / "other.tar").write_bytes(b"nothing of the kind")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    for name in ("other.tar", "empty.tar", "missing.tar"):
        with pytest.raises(ArchiveError, match="no backup of an archive"):
            restore(tmp_path / name, folder)
    assert open_archive("rhine", group="racks", root=tmp_path).load().identical(before)
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "store"]


def spoil(path, share):
    """Change a byte of a backup within the largest of its members."""
    with tarfile.open(path) as file:
        member = max(file.getmembers(), key=lambda one: one.size)
    data = bytearray(path.read_bytes())
    data[member.offset_data + int(share * member.size)] ^= 4
    path.write_bytes(data)


def test_a_backup_with_losses_replaces_nothing_unless_forced(tmp_path):
    """Forty changed bytes replaced a sound archive, and the command said that all was well."""
    folder = fill(tmp_path, range(0, 4000, 50), is_compacted=True)
    before = open_archive("rhine", group="racks", root=tmp_path).load()
    backup(folder, tmp_path / "a.tar")
    spoil(tmp_path / "a.tar", 0.25)
    words = ["archive", "restore", "rhine", str(tmp_path / "a.tar"), "--state", str(tmp_path)]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 1
    assert "1 losses: group" in told.stderr
    assert "checksum differs" in told.stderr
    assert "--force restores what is left" in told.stderr
    assert open_archive("rhine", group="racks", root=tmp_path).load().identical(before)
    assert not list(folder.glob("store.*"))
    told = CliRunner().invoke(app, [*words, "--force"])
    assert told.exit_code == 0
    assert len(verify(folder).lost) == 1
    assert [path.name[:14] for path in folder.glob("store.*")] == ["store.replaced"]


def test_an_archive_of_another_site_is_none(tmp_path):
    folder = fill(tmp_path / "rhine", range(0, 100, 5))
    Archive(tmp_path / "small" / "archive", "small")
    backup(folder, tmp_path / "a.tar")
    is_other = "this is the archive of rhine, not of small; name another folder"
    for words in (
        ("verify", "small", "--state", str(tmp_path / "rhine")),
        ("restore", "small", str(tmp_path / "a.tar"), "--state", str(tmp_path / "small")),
        ("export", "small", str(tmp_path / "a.nc"), "--state", str(tmp_path / "rhine")),
    ):
        told = CliRunner().invoke(app, ["archive", *words])
        assert told.exit_code == 1
        assert is_other in told.stderr
    with pytest.raises(ArchiveError, match=is_other):
        open_archive("small", group="racks", root=tmp_path / "rhine")
    assert open_archive("small", group="racks", root=tmp_path / "small").sizes == {"time": 0}


def test_exports_hold_what_was_heard(tmp_path):
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
    with pytest.raises(ArchiveError, match=r"an export ends in \.parquet, \.nc, \.csv"):
        export(points, tmp_path / "points.xls")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".draft")]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"group": "foo"}, "group = foo: choose racks, points, or none"),
        ({"group": "racks", "resolution": "5min"}, "resolution = 5min: choose 1min, 15min, 1h"),
        ({"resolution": "1h"}, "variables are not rolled up; ask for a group: racks, points"),
        ({"group": "racks", "start": "garbage"}, "start = garbage: no moment; write UTC as 2026"),
        ({"group": "racks", "end": "2026-13-01"}, "end = 2026-13-01: no moment"),
        ({"group": "racks", "start": "2026-07-02", "end": "2026-07-01"}, "no stretch of time"),
    ],
)
def test_a_wrong_question_is_no_fault_of_the_archive(tmp_path, asked, told):
    """It was said to be spoilt, and that the service would mend it."""
    fill(tmp_path, range(0, 100, 5))
    with pytest.raises(ArchiveError, match=re.escape(told)):
        open_archive("rhine", root=tmp_path, **asked)


def test_what_fits_in_no_table_says_what_to_type(tmp_path):
    folder = fill(tmp_path, range(0, 100, 5))
    archive = Archive(folder, "rhine")
    for listed in list_points(sites.load("rhine")):
        archive.add(listed.metadata, Position(1, 31))
    archive.commit(everything=True)
    file = tmp_path / "a.csv"
    for words, reason in (
        ((), f"type `gigatwin archive export rhine {file} --group points`, or `gigatwin archive"),
        (("--from", "2027-01-01", "--to", "2026-01-01"), "no stretch of time"),
    ):
        told_by = ["archive", "export", "rhine", str(file), "--state", str(tmp_path), *words]
        found = CliRunner().invoke(app, told_by)
        assert found.exit_code == 1
        assert reason in found.stderr
    assert not file.exists()


class Broker:
    """Takes what is published, until it takes no more."""

    def __init__(self, most=10**9):
        self.heard = []
        self.most = most

    def publish(self, topic, payload, *, qos=0, retain=False):
        assert qos == 1
        self.heard.append((topic, payload, retain))
        return self

    def wait(self, timeout):
        return len(self.heard) <= self.most


def test_a_replay_says_what_was_said(tmp_path):
    folder = fill(tmp_path, range(0, 200, 5), is_compacted=True)
    broker = Broker()
    span = {"start": "2026-07-01T00:01:00", "end": "2026-07-01T00:02:30"}
    assert play(said(folder, "rhine", **span), broker, speed=0.0) == len(broker.heard)
    (first, *rest) = broker.heard
    assert decode(*first[:2]) == metadata()
    assert first[2]
    samples = [decode(topic, payload) for topic, payload, _ in rest]
    values = [one for one in samples if hasattr(one, "value")]
    assert [(one.time, one.value) for one in values if one.quality == 1] == [
        (START + np.timedelta64(second, "s"), float(second)) for second in range(60, 150, 5)
    ]
    (bad,) = [one for one in values if one.quality != 1]
    assert bad.value is None
    batches = [one for one in samples if hasattr(one, "rack")]
    assert len(batches) == 2 * 18
    assert batches[0].values.tolist() == batch("r0001", 60).values.tolist()


def test_a_replay_keeps_its_pace(tmp_path):
    folder = fill(tmp_path, range(0, 100, 10))
    now, waits = [0.0], []

    def sleep(seconds):
        waits.append(seconds)
        now[0] += seconds

    stretch = said(folder, "rhine", start="2026-07-01T00:00:00", end="2026-07-01T00:00:50")
    play(stretch, Broker(), speed=5.0, clock=lambda: now[0], sleep=sleep)
    assert waits == [2.0] * 4  # ten seconds of data each


def test_a_replay_that_nobody_takes_is_told(tmp_path):
    folder = fill(tmp_path, range(0, 100, 10))
    stretch = said(folder, "rhine", start="2026-07-01", end="2026-07-02")
    with pytest.raises(BrokerError, match="not acknowledged"):
        play(stretch, Broker(most=3), speed=0.0)
    with pytest.raises(ArchiveError, match="no stretch of time"):
        list(said(folder, "rhine", start="2026-07-02", end="2026-07-01"))


def test_a_replay_becomes_the_archive_that_it_came_from(tmp_path):
    folder = fill(tmp_path, range(0, 100, 5))
    again = Archive(tmp_path / "again" / "archive", "rhine")
    for second in said(folder, "rhine", start="2026-07-01", end="2026-07-02"):
        for topic, payload, _ in second.messages:
            sample = decode(topic, payload)
            is_bad = getattr(sample, "quality", 1) != 1
            flag = Flag.BAD_SOURCE if is_bad else Flag.GOOD
            assert encode(sample) == (topic, payload)
            again.add(sample, Position(1, 30), flag=flag)
    again.commit(everything=True)
    for group in ("racks", "points"):
        first, second = (
            open_archive("rhine", group=group, root=root) for root in (tmp_path, tmp_path / "again")
        )
        assert first.load().identical(second.load())


def run(*words):
    told = CliRunner().invoke(app, [*map(str, words), "--json", "-"])
    return told, json.loads(told.stdout[told.stdout.index("{") :])


def test_the_commands_say_what_they_did(tmp_path):
    fill(tmp_path, range(0, 100, 5))
    state = ("--state", tmp_path)
    told, found = run("archive", "verify", "rhine", *state)
    assert told.exit_code == 0
    assert (found["points"], found["open_hours"], found["lost"]) == (621, 2, [])
    assert run("archive", "compact", "rhine", *state)[1] == {"hours": 2}
    out = tmp_path / "level.csv"
    _, found = run("archive", "export", "rhine", out, "--from", "2026-07-01T00:00:50", *state)
    assert found["rows"] == 10  # the empty reading is not believed
    assert out.read_text().startswith("time,battery,battery_level [MWh]")
    run("archive", "backup", "rhine", tmp_path / "a.tar", *state)
    _, found = run("archive", "restore", "rhine", tmp_path / "a.tar", "--state", tmp_path / "new")
    assert found == {"points": 621, "lost": []}


@pytest.mark.parametrize(
    "words",
    [
        ("archive", "compact", "rhine"),
        ("archive", "restore", "rhine", "a.tar"),
        ("telemetry", "record", "rhine", "--broker", "mqtt://127.0.0.1:1", "--seconds", "0"),
    ],
)
def test_who_would_write_beside_another_is_refused(tmp_path, words):
    """A recording went on and archived nothing more once somebody else had compacted."""
    folder = fill(tmp_path, range(0, 100, 5))
    before = sorted(path.name for path in folder.iterdir())
    with StateFolder(tmp_path):
        told = CliRunner().invoke(app, [*words, "--state", str(tmp_path)])
    assert told.exit_code == 1
    assert "another service runs on this state; stop it" in told.stderr
    assert sorted(path.name for path in folder.iterdir()) == before


def test_losses_stand_under_their_headings(tmp_path, monkeypatch):
    told = {"group": "points", "variable": "metadata", "reason": "torn", "columns": "0 to 9"}
    tell(fill(tmp_path, range(0, 100, 5)), [told, {"group": "all", "reason": "cut"}])
    monkeypatch.setenv("COLUMNS", "160")
    shown = CliRunner().invoke(app, ["archive", "verify", "rhine", "--state", str(tmp_path)])
    assert shown.exit_code == 1
    lines = [line for line in shown.stdout.splitlines() if line[:1] in "│┃"]
    head, first, second = ([cell.strip() for cell in re.split("[│┃]", one)] for one in lines)
    assert dict(zip(head, first, strict=True)).items() >= told.items()
    assert [cell for cell in second if cell] == ["all", "cut"]
    assert second[head.index("reason")] == "cut"
