"""Compare published data with the data of the archive."""

import numpy as np

from soak import source
from soak.source import CHIPS, POINT, RACKS, SITE, START, read_numbers
from soak.stand import Stand
from soak.tally import Tally
from telemetry.archive import open as open_archive
from telemetry.archive.backup import verify
from twin.errors import GigatwinError

FORGETFUL = "Version:  2.10."
"""What a NATS writes at its start that may keep back a point for ever."""


def check(stand: Stand, tally: Tally) -> list[str]:
    """Read back all that was published; return what is not as it was."""
    try:
        lost = verify(stand.state / "archive").lost
        faults = [f"spoilt in the archive: {one}" for one in lost[:3]]
        return faults + _check_batches(stand, tally) + _check_points(stand, tally)
    except GigatwinError as error:
        return [f"the archive does not open: {error}"]


def _check_batches(stand: Stand, tally: Tally) -> list[str]:
    published = np.array(sorted(set(read_numbers(stand.folder / "source" / "published"))))
    chips = open_archive(SITE, group="racks", root=stand.state).load()
    seconds = _seconds(chips["time"].values)
    racks = np.array([int(str(label)[-4:]) - 1 for label in chips["rack"].values])
    if sorted(racks.tolist()) != list(range(RACKS)):
        return [f"of {RACKS} racks there are {len(racks)}"]
    faults = []
    absent = np.setdiff1d(published, seconds)
    if len(absent):
        faults.append(f"{len(absent)} published seconds are absent, the first {absent[0]}")
    strange = np.setdiff1d(seconds, [*published, int(published[-1]) + 1])
    if len(strange) > tally.killed["source"] + tally.killed["all"]:
        faults.append(f"{len(strange)} seconds that nobody published")
    here = np.isin(seconds, published)
    expected = source.value(
        seconds[here, None, None], racks[None, :, None], np.arange(CHIPS)[None, None, :]
    )
    for name, add in (("power", 0.0), ("temperature", 0.5)):
        read = chips[name].transpose("time", "rack", "chip").values[here]
        wrong = ~(read == expected + np.float32(add)).all(axis=2)
        if wrong.any():
            at, rack = np.argwhere(wrong)[0].tolist()
            faults.append(
                f"{name} of {int(wrong.sum())} batches is not what was published, the first of"
                f" rack {racks[rack] + 1} in second {seconds[here][at]}"
            )
    tally.samples += int(here.sum()) * RACKS
    return faults


def _check_points(stand: Stand, tally: Tally) -> list[str]:
    """Hold against the archive the readings that a broker has acknowledged."""
    acknowledged = sorted(set(read_numbers(stand.folder / "source" / "points")))
    tally.points += len(acknowledged)
    points = open_archive(SITE, group="points", root=stand.state).load()
    values = points["value"].sel(point=POINT).dropna("time")
    kept = dict(zip(_seconds(values["time"].values).tolist(), values.values, strict=True))
    faults = [f"a point is wrong in second {at}" for at, one in kept.items() if one != at][:3]
    gone = [second for second in acknowledged if second not in kept]
    if stand.name == "mosquitto":
        tally.points_gone += len(gone)
    elif len(gone) <= _may_keep(stand):
        tally.points_kept += len(gone)
    else:
        faults.append(f"{len(gone)} acknowledged points are lost, the first of second {gone[0]}")
    return faults


def _may_keep(stand: Stand) -> int:
    """Return how many points NATS may have kept back: 2.10 one a death of their ingester.

    It was about to hand them to whom was killed, and knows of them no more (ADR 022).
    """
    log = stand.broker.folder / "log"
    said = log.read_text(errors="replace") if log.exists() else ""
    return stand.deaths if FORGETFUL in said else 0


def _seconds(times: np.ndarray) -> np.ndarray:
    """Return times as whole seconds since the start."""
    return ((times - START.astype("datetime64[ns]")) / np.timedelta64(1, "s")).astype(np.int64)
