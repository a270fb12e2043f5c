"""Lists of jobs as long as those of real sites: whole, refused where spoilt, and bounded."""

import gzip
import json
from functools import partial

import numpy as np
import pytest

from telemetry.messages import decode, encode
from telemetry.messages.samples import JobColumns, JobHistory, QueueSnapshot
from telemetry.messages.strict_json import MAX_PLAIN_BYTES, MAX_UNPACKED_BYTES
from telemetry.mqtt.queues import MAX_PAYLOAD_BYTES
from twin.errors import MessageError

NOW = np.datetime64("2026-11-28T08:00", "us")
MINUTE = np.timedelta64(1, "m")
TOPIC = "dc/v1/rhine/jobs/queue"


def jobs(count):
    rng = np.random.default_rng(1)
    ago = np.sort(rng.integers(0, 14 * 1440, count))[::-1]
    return JobColumns(
        number=np.arange(10_000_000, 10_000_000 + count),
        kind=tuple(rng.choice(["training", "batch"], count).tolist()),
        arrival=NOW - ago * MINUTE,
        deadline=NOW + rng.integers(0, 1440, count) * MINUTE,
        length=rng.lognormal(1.0, 1.0, count),
        racks=rng.lognormal(0.0, 1.0, count),
    )


def queue(count):
    columns = jobs(count)
    done = columns.length * np.linspace(0.0, 1.0, count)
    return QueueSnapshot(
        site="rhine",
        time=NOW,
        jobs=columns,
        completed_hours=done,
        run_hours=done,
        running=done > 1.0,
    )


pack = partial(gzip.compress, mtime=0)  # names of tests must be the same in all workers


def packed(**changes):
    document = json.loads(encode(queue(3))[1])
    return pack(json.dumps(document | changes).encode())


@pytest.mark.parametrize(
    "sample", [queue(5_500), JobHistory(site="rhine", time=NOW, jobs=jobs(8_000))]
)
def test_jobs_of_large_site_fit_in_one_message(sample):
    topic, payload = encode(sample)
    assert len(payload) <= MAX_PAYLOAD_BYTES
    assert len(gzip.decompress(payload)) > 2 * MAX_PAYLOAD_BYTES
    assert encode(decode(topic, payload)) == (topic, payload)


def test_a_short_list_is_text_that_people_can_read():
    _, payload = encode(queue(300))
    assert len(payload) <= MAX_PLAIN_BYTES
    assert json.loads(payload)["site"] == "rhine"


def test_text_that_others_packed_is_read():
    assert decode(TOPIC, packed()).jobs.number.tolist() == [10_000_000, 10_000_001, 10_000_002]


@pytest.mark.parametrize(
    "payload",
    [
        packed()[:-3],
        packed()[:20],
        packed() + b"\0",
        packed() + packed(),
        packed()[:-5] + b"\1" + packed()[-4:],  # its checksum
        b"\x1f\x8b",
        packed(running=[1, 0, 0]),
        packed(site="gallia"),
        pack(b"[" * (MAX_UNPACKED_BYTES + 1)),
        pack(pack(b"{}")),
    ],
)
def test_incomplete_gzip_is_refused(payload):
    with pytest.raises(MessageError, match="jobs/queue"):
        decode(TOPIC, payload)


def test_gzip_bomb_is_refused_at_limit():
    bomb = pack(b" " * (60 * MAX_UNPACKED_BYTES))
    assert len(bomb) < MAX_PAYLOAD_BYTES
    with pytest.raises(MessageError, match=f"{MAX_UNPACKED_BYTES + 1} bytes"):
        decode(TOPIC, bomb)


def test_no_other_message_may_be_packed():
    with pytest.raises(MessageError):
        decode("dc/v1/rhine/jobs/set", packed())
