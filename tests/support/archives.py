"""Samples and a writer for the tests of archive and ingester; a script that can be killed."""

import sys
from pathlib import Path

import numpy as np

from telemetry.archive import Archive
from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import Journal
from telemetry.messages import decode, encode
from telemetry.messages.samples import PointMetadata, PointValue, RackBatch, SimulationTick
from telemetry.quality.checks import QualityFlag

START = np.datetime64("2026-07-01T00:00:00", "us")
SECOND = np.timedelta64(1, "s")
QUARTER = np.timedelta64(15, "m")
POINT = "BESS/GenericPoint/rhine/battery_1/battery_level"
SITE = "rhine"


def batch(rack, seconds, *, sequence=0, interval=SECOND, chips=3, value=None):
    """Return a batch whose values identify its second and chip."""
    power = seconds + np.arange(chips) / 8 if value is None else np.full(chips, value)
    values = np.tile(power, (5, 1)).astype(np.float32)
    return RackBatch(
        site=SITE,
        hall="hall_1",
        rack=rack,
        boot=1,
        sequence=sequence,
        time=START + seconds * SECOND,
        interval=interval,
        values=values,
    )


def value(seconds, number, *, point=POINT, quality=1):
    return PointValue(point=point, time=START + seconds * SECOND, value=number, quality=quality)


def metadata(point=POINT, unit="%"):
    """Return the metadata of the battery level of `rhine`."""
    object_type, point_type, *_ = point.split("/")
    return PointMetadata(
        point=point,
        object_type=object_type,
        point_type=point_type,
        object_id="battery_1",
        object_name="battery_1",
        unit=unit,
        process_area=("State Of Charge",),
    )


def tick(seconds, step=0):
    return SimulationTick(
        site=SITE,
        time=START + seconds * SECOND,
        interval=QUARTER,
        step=step,
        steps=1000,
        batches=2,
        points=1,
    )


def messages(seconds):
    """Return the messages of two racks and a battery in one second."""
    samples = [
        batch("r0001", seconds, sequence=seconds),
        batch("r0002", seconds, sequence=seconds),
        value(seconds, float(seconds)),
    ]
    return [encode(sample) for sample in samples]


def fill(folder, seconds, *, is_compacted=False):
    """Archive two racks and a battery whose last reading is bad; return the archive's folder."""
    archive = Archive(folder / "archive", SITE)
    archive.add(metadata(), JournalPosition(1, 30))
    for second in seconds:
        archive.add(batch("r0001", second), JournalPosition(1, 30))
        archive.add(batch("r0002", second, value=1.0), JournalPosition(1, 30))
        archive.add(value(second, float(second)), JournalPosition(1, 30))
    archive.add(value(99, None), JournalPosition(1, 30), flag=QualityFlag.BAD_SOURCE)
    archive.commit(include_open=True)
    if is_compacted:
        archive.maintain(is_whole=True)
    return folder / "archive"


def replay(archive, journal):
    """Add the frames of a journal that an archive does not contain."""
    for frame in journal.read(after=archive.replay_position):
        archive.add(decode(frame.topic, frame.payload), frame.position)
        archive.record_journal_position(frame.position)
        if archive.is_commit_due:
            archive.commit()


def write(folder, seconds):
    """Append and archive from the end of the journal; write a line for each durable second."""
    journal = Journal(folder / "journal")
    archive = Archive(folder / "archive", SITE)
    replay(archive, journal)
    done = sum(1 for _ in (folder / "done").open()) if (folder / "done").exists() else 0
    with (folder / "done").open("a", buffering=1) as log:
        for second in range(done, seconds):
            position = journal.append(messages(second))
            log.write(f"{second}\n")
            for topic, payload in messages(second):
                archive.add(decode(topic, payload), position)
            archive.record_journal_position(position)
            if archive.is_commit_due:
                archive.commit()
    archive.commit(include_open=True)
    journal.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
