"""Verify, backup and restore of an archive, and their commands."""

import json
import re
import shutil
import tarfile

import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.service.state_folder import StateFolder
from telemetry.archive import Archive, repository
from telemetry.archive import open as open_archive
from telemetry.archive.backup import backup, restore, verify
from telemetry.archive.loss_log import append_losses
from tests.support.archives import fill
from twin.errors import ArchiveError


@pytest.mark.slow
@pytest.mark.parametrize("is_compacted", [False, True])
def test_verify_counts_points_and_open_hours(tmp_path, is_compacted):
    found = verify(fill(tmp_path, range(0, 100, 5), is_compacted=is_compacted))
    assert found.lost == []
    assert found.value_count == 20 * 2 * 3 * 5 + 20 + 1
    assert found.open_hour_count == (0 if is_compacted else 2)
    assert found.bytes_per_value > 0


@pytest.mark.slow
def test_verify_lists_corrupt_chunks(tmp_path):
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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_flipped_bit_is_found_or_harmless(tmp_path, seed):
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
        for group, dataset in before.items():  # the bit was in a roll-up, or in unused bytes
            assert open_archive("rhine", group=group, root=tmp_path).load().identical(dataset)
    except ArchiveError:
        return


def test_restore_moves_present_archive_aside(tmp_path):
    folder = fill(tmp_path, range(0, 100, 5))
    before = open_archive("rhine", group="racks", root=tmp_path).load()
    assert backup(folder, tmp_path / "archive.tar") > 0
    fill(tmp_path, range(100, 200, 5))
    verdict = restore(tmp_path / "archive.tar", folder)
    assert verdict.lost == []
    assert open_archive("rhine", group="racks", root=tmp_path).load().identical(before)
    assert len(list(folder.glob("store.replaced-*"))) == 1
    with pytest.raises(ArchiveError, match="exists already"):
        backup(folder, tmp_path / "archive.tar")


def test_invalid_backup_changes_nothing(tmp_path):
    folder = fill(tmp_path, range(0, 100, 5))
    before = open_archive("rhine", group="racks", root=tmp_path).load()
    (tmp_path / "other.tar").write_bytes(b"nothing of the kind")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    for name in ("other.tar", "empty.tar", "missing.tar"):
        with pytest.raises(ArchiveError, match="not a backup of an archive"):
            restore(tmp_path / name, folder)
    assert open_archive("rhine", group="racks", root=tmp_path).load().identical(before)
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "store"]


def corrupt(path, share):
    """Change a byte of a backup within the largest of its members."""
    with tarfile.open(path) as file:
        member = max(file.getmembers(), key=lambda one: one.size)
    data = bytearray(path.read_bytes())
    data[member.offset_data + int(share * member.size)] ^= 4
    path.write_bytes(data)


@pytest.mark.slow
def test_backup_with_losses_needs_force(tmp_path):
    """Sensitivity: a backup with 40 changed bytes replaced an intact archive with exit code 0."""
    folder = fill(tmp_path, range(0, 4000, 50), is_compacted=True)
    before = open_archive("rhine", group="racks", root=tmp_path).load()
    backup(folder, tmp_path / "a.tar")
    corrupt(tmp_path / "a.tar", 0.25)
    words = ["archive", "restore", "rhine", str(tmp_path / "a.tar"), "--state", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "1 losses: group" in result.stderr
    assert "checksum differs" in result.stderr
    assert "use --force to restore the remainder" in result.stderr
    assert open_archive("rhine", group="racks", root=tmp_path).load().identical(before)
    assert not list(folder.glob("store.*"))
    result = CliRunner().invoke(app, [*words, "--force"])
    assert result.exit_code == 0
    assert len(verify(folder).lost) == 1
    assert [path.name[:14] for path in folder.glob("store.*")] == ["store.replaced"]


def test_archive_of_other_site_is_refused(tmp_path):
    folder = fill(tmp_path / "rhine", range(0, 100, 5))
    Archive(tmp_path / "small" / "archive", "small")
    backup(folder, tmp_path / "a.tar")
    is_other = "this is the archive of rhine, not of small; name another folder"
    for words in (
        ("verify", "small", "--state", str(tmp_path / "rhine")),
        ("restore", "small", str(tmp_path / "a.tar"), "--state", str(tmp_path / "small")),
        ("export", "small", str(tmp_path / "a.nc"), "--state", str(tmp_path / "rhine")),
    ):
        result = CliRunner().invoke(app, ["archive", *words])
        assert result.exit_code == 1
        assert is_other in result.stderr
    with pytest.raises(ArchiveError, match=is_other):
        open_archive("small", group="racks", root=tmp_path / "rhine")
    assert open_archive("small", group="racks", root=tmp_path / "small").sizes == {"time": 0}


def run(*words):
    result = CliRunner().invoke(app, [*map(str, words), "--json", "-"])
    return result, json.loads(result.stdout)  # stdout holds nothing else, no log either


@pytest.mark.slow
def test_commands_print_their_results(tmp_path):
    fill(tmp_path, range(0, 100, 5))
    state = ("--state", tmp_path)
    result, found = run("archive", "verify", "rhine", *state)
    assert result.exit_code == 0
    assert (found["points"], found["open_hours"], found["lost"]) == (621, 2, [])
    assert run("archive", "compact", "rhine", *state)[1] == {"hours": 2}
    out = tmp_path / "level.csv"
    _, found = run("archive", "export", "rhine", out, "--from", "2026-07-01T00:00:50", *state)
    assert found["rows"] == 10  # the bad reading is left out
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
def test_second_writer_is_refused(tmp_path, words):
    """Sensitivity: a recording archived nothing more after another process had compacted."""
    folder = fill(tmp_path, range(0, 100, 5))
    before = sorted(path.name for path in folder.iterdir())
    with StateFolder(tmp_path):
        result = CliRunner().invoke(app, [*words, "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "another service runs on this state; stop it" in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == before


def test_losses_are_shown_in_their_columns(tmp_path, monkeypatch):
    loss = {"group": "points", "variable": "metadata", "reason": "torn", "columns": "0 to 9"}
    append_losses(fill(tmp_path, range(0, 100, 5)), [loss, {"group": "all", "reason": "cut"}])
    monkeypatch.setenv("COLUMNS", "160")
    shown = CliRunner().invoke(app, ["archive", "verify", "rhine", "--state", str(tmp_path)])
    assert shown.exit_code == 1
    lines = [line for line in shown.stdout.splitlines() if line[:1] in "│┃"]
    head, first, second = ([cell.strip() for cell in re.split("[│┃]", one)] for one in lines)
    assert dict(zip(head, first, strict=True)).items() >= loss.items()
    assert [cell for cell in second if cell] == ["all", "cut"]
    assert second[head.index("reason")] == "cut"


@pytest.mark.slow
def test_files_of_old_commits_are_deleted(tmp_path, monkeypatch):
    """Proves: the number of files does not grow with the number of commits."""
    monkeypatch.setattr(repository, "MAX_OLD_HEADS", 3)
    folder = fill(tmp_path, range(0, 3600, 60), is_compacted=True)
    files = {}
    for begin in (3600, 7200, 10_800):
        fill(tmp_path, range(begin, begin + 3600, 60), is_compacted=True)
        for name in ("overwritten", "transactions", "snapshots"):
            files.setdefault(name, []).append(len(list((folder / "store" / name).iterdir())))
    assert files["overwritten"] == [3, 3, 3]
    assert files["transactions"] == files["snapshots"]
    assert verify(folder).lost == []
    shutil.copyfile(folder / "store" / "seals", folder / "store" / "repo")  # an invalid head
    assert Archive(folder, "rhine").corrupt_copies
    assert len(open_archive("rhine", group="racks", root=tmp_path)["time"]) == 4 * 60
