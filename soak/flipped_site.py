"""A small site as a killed recording left it, and how it goes on after its files were changed."""

from pathlib import Path

from telemetry.archive import Archive, loss_log
from telemetry.archive.last_messages import LastMessageStore
from telemetry.delivery.tracker import DeliveryTracker
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.journal.follower import read_archived_position
from telemetry.journal.writer import Journal
from telemetry.messages import encode
from telemetry.runtime import ClockMode
from tests.support.archives import SITE, batch, metadata, value

SEGMENT = 20_000
"""Size of a segment of the journal. [B]"""

ARCHIVED = [*range(0, 300, 10), *range(3600, 3900, 10)]
"""Seconds in the archive."""

WAITING = [*range(3900, 4000, 10)]
"""Seconds that only the journal has."""

LATER = [*range(4000, 4100, 10)]
"""Seconds that come after the change."""

RACKS, CHIPS = ("r0001", "r0002"), 3
KEPT = [encode(metadata(f"BESS/GenericPoint/rhine/battery_{number}/level")) for number in range(9)]
"""What is said once."""

LABELS = [f"hall_1/{rack}" for rack in RACKS]


def make(folder: Path) -> None:
    """Make a site as a killed recording left it."""
    journal = _journal(folder)
    journal.append([encode(metadata())])
    archive = Archive(folder / "archive", SITE)
    archiver = _archiver(archive, folder)
    for second in ARCHIVED:
        _append(journal, second)
        while archiver.archive_next_chunk():
            pass
    archiver.commit(include_open=True)
    archive.maintain()
    _append(journal, *WAITING)
    journal.close()
    kept = LastMessageStore(archive.last_messages_path)
    for item in KEPT:
        kept.store_decoded(*item)
    kept.save()


def recall(folder: Path) -> list[str]:
    """Take up what is said once; return what does not hold."""
    kept = LastMessageStore(folder / "archive" / "kept.jsonl")
    found = []
    for item in kept.load():
        found.append(item)
        kept.store_decoded(*item)
    if wrong := [item for item in found if item not in KEPT]:
        return [f"what is said once lies: {wrong[0]}"]
    is_logged = any(one.get("group") == "kept" for one in loss_log.read_losses(folder / "archive"))
    return [] if is_logged or len(found) == len(KEPT) else ["what is said once is absent"]


def write(folder: Path, *, is_whole: bool) -> frozenset[str]:
    """Start as a recording does, take in what comes, and end; return what is known to be lost."""
    journal = _journal(folder)
    progress = DeliveryTracker(folder / "journal")
    progress.recover(journal)
    position = read_archived_position(folder / "journal")
    if position is not None:
        journal.trim(position)
    archive = Archive(folder / "archive", SITE)
    archiver = _archiver(archive, folder)
    while archiver.archive_next_chunk():
        pass
    _append(journal, *LATER)
    archiver.stop()
    archiver.run()
    if is_whole:
        archive.maintain(is_whole=True)
    journal.close()
    losses = {"repaired"} if journal.corruptions else set()
    losses |= {"torn"} if archiver.counters["torn"] else set()
    return frozenset(losses)


def again(folder: Path) -> list[str]:
    """Start once more; return what does not hold."""
    before = (folder / "archive" / "lost.jsonl").exists() and _lines(folder)
    archive = Archive(folder / "archive", SITE)
    archiver = _archiver(archive, folder)
    archiver.stop()
    archiver.run()
    faults = ["it is set aside again and again"] if archive.corrupt_copies else []
    if before and _lines(folder) != before:
        faults.append("it loses something at each start")
    return faults


def _lines(folder: Path) -> list[str]:
    return (folder / "archive" / "lost.jsonl").read_text(errors="replace").splitlines()


def _journal(folder: Path) -> Journal:
    return Journal(folder / "journal", segment_bytes=SEGMENT)


def _archiver(archive: Archive, folder: Path) -> JournalArchiver:
    return JournalArchiver(
        archive,
        {"a": folder / "journal"},
        quarantine=folder / "quarantine",
        clock_mode=ClockMode.SIMULATED,
    )


def _append(journal: Journal, *seconds: int) -> None:
    for second in seconds:
        items = [encode(batch(rack, second, sequence=second)) for rack in RACKS]
        journal.append([*items, encode(value(second, float(second)))])
