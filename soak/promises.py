"""Promises of a service over a day, checked against its files and messages."""

import json
from collections import Counter
from collections.abc import Iterator

import numpy as np

import telemetry
from optimizer.demo.simulated_day import PARTNER_NAME
from optimizer.service.audit import AUDIT_FILE, read_entries
from telemetry.feed.signing import verify_signature
from telemetry.journal.writer import Journal
from telemetry.messages import decode
from telemetry.messages.samples import CHIP_VARIABLES, RackBatch
from telemetry.messages.topics import TopicKind
from tests.support.service_processes import SITE, Ear, Stage
from twin.errors import GigatwinError
from twin.time_axes import QUARTER_HOUR


def broken_promises(stage: Stage, ear: Ear, result: dict, *, steps: int) -> Iterator[str]:
    """Yield the promises that do not hold after a clean end, in words."""
    if stage.service.exit_code != 0:
        yield f"the service ended with code {stage.service.exit_code}"
    yield from _revisions(ear)
    yield from _decisions(stage, result, steps=steps)
    yield from _samples(stage, ear, result)
    yield from _files(stage)
    yield from _last_schedule(stage, ear)
    if result["violations"]:
        yield f"limits of the plant were violated: {result['violations']}"


def schedules(ear: Ear) -> dict[int, Counter[bytes]]:
    """Return revision -> each payload that was published under it, and how often."""
    found: dict[int, Counter[bytes]] = {}
    for one in ear.of(TopicKind.SCHEDULE):
        found.setdefault(one.document["revision"], Counter())[one.payload] += 1
    return found


def _revisions(ear: Ear) -> Iterator[str]:
    sent = schedules(ear)
    for revision, payloads in sent.items():
        if len(payloads) > 1:
            yield f"revision {revision} was published with {len(payloads)} contents"
    order = [one.document["revision"] for one in ear.of(TopicKind.SCHEDULE)]
    if order != sorted(order):
        yield "revisions went out in another order than their numbers"


def _decisions(stage: Stage, result: dict, *, steps: int) -> Iterator[str]:
    """Yield what is wrong with the record of decisions, and which quarter-hours have none."""
    try:
        found = list(read_entries(stage.state / AUDIT_FILE))
    except (GigatwinError, OSError) as error:
        yield f"the audit record is broken: {error}"
        return
    yield from (f"the audit record is edited: {one.damage}" for one in found if one.damage)
    entries = [one.content for one in found]
    decided = {entry["start"] for entry in entries if entry["event"] == "decision"}
    start = np.datetime64(result["start"].removesuffix("Z"))
    wanted = {f"{(start + step * QUARTER_HOUR).astype('M8[s]')}Z" for step in range(steps)}
    if missing := sorted(wanted - decided):
        why = [one["degraded"] for one in entries if one.get("start") == missing[0]]
        reasons = "; ".join(map(str, why)) or "of which nothing is on record"
        many = f"{len(missing)} quarter-hours have no decision on record"
        yield f"{many}, the first {missing[0]}: {reasons}"
    if result["undecided"]:
        yield f"the plant went on without a decision in {result['undecided']} quarter-hours"


def _samples(stage: Stage, ear: Ear, result: dict) -> Iterator[str]:
    """Yield what is lost of the rack batches that the broker has taken."""
    batches = [decode(one.topic, one.payload) for one in ear.of(TopicKind.RACK_BATCH)]
    sent = {(one.hall, one.rack, one.boot, one.sequence): one for one in batches}
    if len(sent) != result["messages"]["batches"]:
        yield f"{len(sent)} rack batches went over the broker, not {result['messages']['batches']}"
    try:
        archive = telemetry.open(SITE, group="racks", root=stage.state).load()
    except GigatwinError as error:
        yield f"the archive is broken: {error}"
        return
    chips = np.stack([archive[name].to_numpy() for name in CHIP_VARIABLES])
    columns = archive[CHIP_VARIABLES[0]].dims
    chips = np.moveaxis(
        chips, [columns.index(dim) + 1 for dim in ("time", "rack", "chip")], (1, 2, 3)
    )
    times = {time: row for row, time in enumerate(archive["time"].to_numpy())}
    racks = {str(rack): row for row, rack in enumerate(archive["rack"].to_numpy())}
    lost = [batch for batch in sent.values() if not _is_kept(batch, chips, times, racks)]
    if lost:
        yield (
            f"{len(lost)} of {len(sent)} rack batches are not in the archive as they were sent, "
            f"the first {lost[0].hall}/{lost[0].rack} of {lost[0].time}"
        )


def _is_kept(batch: RackBatch, chips: np.ndarray, times: dict, racks: dict) -> bool:
    row, rack = times.get(batch.time), racks.get(f"{batch.hall}/{batch.rack}")
    if row is None or rack is None:
        return False
    kept = chips[:, row, rack, : batch.values.shape[1]]
    return bool(np.array_equal(kept, batch.values, equal_nan=True))


def _files(stage: Stage) -> Iterator[str]:
    """Yield which files had to be set aside or cannot be read."""
    for spoilt in (*stage.state.rglob("*.broken"), *stage.state.rglob("*.spoilt-*")):
        yield f"{spoilt.name} was broken and set aside"
    try:
        journal = Journal(stage.state / "journal")
        count = sum(1 for _ in journal.read())
        journal.close()
    except GigatwinError as error:
        yield f"the journal is broken: {error}"
    else:
        if not count and journal.end_position.offset:
            yield "the journal is empty"
    for name in ("orders.json", "record.json", "estimate.json", "feed/state.json", "schema.json"):
        try:
            json.loads((stage.state / name).read_text())
        except (OSError, ValueError) as error:
            yield f"{name} is broken: {error}"


def _last_schedule(stage: Stage, ear: Ear) -> Iterator[str]:
    """Yield what is wrong with the last schedule: on disk, and retained for who comes later."""
    if not (heard := ear.of(TopicKind.SCHEDULE)):
        yield "no schedule was published"
        return
    last = heard[-1]
    with Ear(stage.broker, last.topic, name="late-comer") as late:
        kept = late.until(lambda: late.of(TopicKind.SCHEDULE))[-1]
    if kept.payload != last.payload:
        yield "the retained schedule is not the last that was published"
    revision = json.loads((stage.state / "feed" / "state.json").read_text())["revision"]
    if revision != last.document["revision"]:
        yield f"the newest number is {revision}, the last published {last.document['revision']}"
    path = (
        stage.state / "feed" / "documents" / f"{last.document['revision']:08d}.{PARTNER_NAME}.jws"
    )
    if not path.exists() or path.read_bytes() != last.payload:
        yield f"the last schedule is not on disk as it was published: {path.name}"
    known = json.loads(stage.keys.read_text())["site"]
    try:
        verify_signature(last.payload, known)
    except GigatwinError as error:
        yield f"the last schedule is not signed: {error}"
