"""An archiver survives restored and corrupt journals, full memory and implausible racks."""

import base64
import json
import shutil

import numpy as np
import pytest

from telemetry.archive import Archive, loss_log
from telemetry.archive import open as open_archive
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.journal import format
from telemetry.journal.writer import Journal
from telemetry.messages import encode
from telemetry.runtime import ClockMode
from tests.support.archives import START, batch
from tests.support.journaling import append, clock_at, recorded
from tests.support.wire_messages import json_batch


@pytest.mark.slow
def test_late_batches_in_a_restored_copy_are_archived(tmp_path):
    """Sensitivity: repeated batches at positions of archived ones were skipped."""
    recorded(tmp_path, [batch("r0001", 0)], clock_mode=ClockMode.REAL)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    recorded(
        tmp_path, [batch("r0001", second) for second in range(1, 50)], clock_mode=ClockMode.REAL
    )
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(tmp_path / "copy", tmp_path / "a")
    journal = Journal(tmp_path / "a", clock=clock_at(300))
    append(journal, *(batch("r0002", second) for second in range(20, 40)))
    journal.close()
    archiver = recorded(tmp_path, [], clock_mode=ClockMode.REAL)
    assert archiver.counters["batches"] == 20
    chips = open_archive("rhine", group="racks", root=tmp_path)
    power = chips["power"].isel(chip=0).sel(rack="hall_1/r0002").values
    assert np.flatnonzero(np.isfinite(power)).tolist() == list(range(20, 40))


def test_batches_of_both_encodings_are_counted(tmp_path):
    """Proves: two binary and two JSON batches count as four. Sensitivity: JSON counted as none."""
    journal = Journal(tmp_path / "a", clock=clock_at(300))
    append(journal, batch("r0001", 0), batch("r0002", 0))
    journal.append([json_batch(batch("r0001", second)) for second in (1, 2)])
    journal.close()
    archiver = recorded(tmp_path, [], clock_mode=ClockMode.REAL)
    assert archiver.counters["batches"] == 4


def test_unreadable_part_of_a_journal_is_a_loss(tmp_path):
    journal = Journal(tmp_path / "a", clock=clock_at(200))
    append(journal, batch("r0001", 0))
    journal.close()
    (path,) = (tmp_path / "a").glob("*.journal")
    with path.open("ab") as file:
        file.write(b"corrupt" * 20)
    other = format.segment_path(tmp_path / "a", int(path.stem) + 1)
    other.write_bytes(format.segment_header(int(path.stem) + 1))
    archiver = JournalArchiver(Archive(tmp_path / "archive", "rhine"), {"a": tmp_path / "a"})
    archiver.stop()
    archiver.run()
    assert archiver.counters["torn"] == 1
    (lost,) = loss_log.read_losses(tmp_path / "archive")
    assert "unreadable from" in lost["reason"]


def test_full_archive_commits_and_continues(tmp_path):
    """Sensitivity: a second larger than the limit was dropped and read again for ever."""
    journal = Journal(tmp_path / "a", clock=clock_at(200))
    for second in range(150):
        append(journal, batch("r0001", second), batch("r0002", second, chips=500))
    archive = Archive(tmp_path / "archive", "rhine", max_bytes=2_500_000)
    archiver = JournalArchiver(archive, {"a": tmp_path / "a"}, quarantine=tmp_path / "q")
    assert archiver.archive_next_chunk()
    assert archive.first_open_second == START.astype("datetime64[s]").astype(int) + 150
    assert archiver.counters["frames"] == 300
    assert archiver.error == ""


def test_rack_with_too_many_chips_is_refused(tmp_path):
    absurd = batch("r9999", 0, chips=4096)
    journal = Journal(tmp_path / "a", clock=clock_at(200))
    append(journal, absurd, *(batch(f"r{rack:04d}", 0) for rack in range(50)))
    journal.close()
    archiver = recorded(tmp_path, [], clock_mode=ClockMode.REAL)
    assert archiver.counters["refused"] == 1
    assert "hall_1/r9999 (4096)" in archiver.error
    (line,) = (tmp_path / "q" / "late.jsonl").read_text().splitlines()
    assert base64.b64decode(json.loads(line)["payload"]) == encode(absurd)[1]
    (lost,) = loss_log.read_losses(tmp_path / "archive")
    assert lost["columns"] == "hall_1/r9999"
    assert open_archive("rhine", group="racks", root=tmp_path).sizes["chip"] == 3
