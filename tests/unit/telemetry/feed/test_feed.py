"""The feed: revisions that are never reused, a document for each partner, and its status."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from telemetry import market_zones
from telemetry.feed import revisions, signing
from telemetry.feed.revisions import MAX_STORED_REVISIONS
from telemetry.feed.signing import public_jwk_set
from telemetry.messages.feed_documents import (
    PUBLIC_TEXTS,
    PublicReason,
    check_schema,
    read_document,
)
from telemetry.messages.strict_json import MIN_MESSAGE_TIME_MS
from telemetry.mqtt.queues import PublishToken
from telemetry.runtime import MAX_LOGGED_REFUSALS
from tests.support.feeds import NOW, START, Bench, key, plan
from twin.errors import IssueCode, JournalError, MessageError
from twin.time_axes import MINUTE

pytestmark = pytest.mark.usefixtures("from_one")

SITE_KEYS = public_jwk_set(key("rhine"))


def test_revisions_rise_and_name_the_one_before(bench):
    assert [bench.feed.publish(plan()) for _ in range(3)] == [1, 2, 3]
    first, second, third = bench.documents()
    assert first["supersedes"] is None
    assert second["supersedes"] == {"mrid": "rhine.tso-1.0", "revision": 1}
    assert third["revision"] == 3
    assert third["receiver"]["eic"] == market_zones.demonstration_eic("tso-1")
    assert bench.feed.wait_acknowledged(0.0)


def test_each_partner_has_its_own_document_will_and_connection(tmp_path):
    bench = Bench(tmp_path, "tso-1", "dso-2")
    bench.feed.publish(plan())
    for name, wire in bench.wires.items():
        (document,) = bench.documents(name)
        assert (document["partner"], document["revision"]) == (name, 1)
        assert wire.filters == [f"feed/v1/{name}/rhine/{end}" for end in ("ack", "request")]
        assert wire.will.topic == f"feed/v1/{name}/rhine/status"
        assert wire.will.retain
        will = read_document(
            signing.verify_signature(wire.will.payload, SITE_KEYS, kind="status"), "status"
        )
        assert (will["state"], will["partner"], will["revision"]) == ("offline", name, None)


def test_revisions_continue_after_restart(tmp_path):
    Bench(tmp_path).feed.publish(plan())
    bench = Bench(tmp_path)
    assert bench.feed.publish(plan()) == 2
    assert bench.documents()[0]["supersedes"]["revision"] == 1


@pytest.mark.parametrize("junk", ["", "{", "[]", "null", '{"revision": 1}', '{"partners/1": 3}'])
def test_corrupt_state_is_moved_aside(tmp_path, junk):
    Bench(tmp_path).feed.publish(plan())
    (tmp_path / "state.json").write_text(junk)
    assert Bench(tmp_path).feed.publish(plan()) == 2
    assert (tmp_path / "state.broken").read_text() == junk


def test_restored_state_reuses_no_revision(tmp_path):
    bench = Bench(tmp_path)
    bench.feed.publish(plan())
    old = (tmp_path / "state.json").read_text()
    bench.feed.publish(plan())
    (tmp_path / "state.json").write_text(old)
    assert Bench(tmp_path).feed.publish(plan()) == 3


@pytest.mark.parametrize("is_backed_up", [True, False])
def test_restored_or_empty_folder_reuses_no_revision(tmp_path, is_backed_up):
    """Proves: after revision 3 a restored backup of revision 1 or an empty folder goes on above 3.

    Sensitivity: they continued with 2 and 1, which partners refuse as known (A51).
    """
    folder, backup = tmp_path / "feed", tmp_path / "backup"
    bench = Bench(folder)
    used = [bench.feed.publish(plan())]
    shutil.copytree(folder, backup)
    used += [bench.feed.publish(plan(START + n * 15 * MINUTE)) for n in (1, 2)]
    shutil.rmtree(folder)
    if is_backed_up:
        backup.rename(folder)
    again = Bench(folder)
    later = [again.feed.publish(plan(START + n * MINUTE)) for n in (31, 32)]
    assert later[0] > max(used)
    assert later[1] == later[0] + 1


def test_first_revision_follows_the_clock(tmp_path, monkeypatch):
    """Proves: the first revision is the seconds since 2000; later ones rise by one."""
    monkeypatch.setattr(revisions, "REVISION_EPOCH_MS", MIN_MESSAGE_TIME_MS)
    bench = Bench(tmp_path)
    first = int((START - np.datetime64("2000-01-01")) / np.timedelta64(1, "s"))
    numbers = [bench.feed.publish(plan(START + n * 15 * MINUTE)) for n in range(3)]
    assert numbers == [first, first + 1, first + 2]
    assert Bench(tmp_path).feed.publish(plan(START - 60 * MINUTE)) == first + 3  # a clock set back
    assert first < 2**31  # as it stays until 2068
    assert bench.documents()[0]["mrid"] == f"rhine.tso-1.{(first - 1) // 999}"


def test_invalid_plan_uses_no_revision(bench):
    with pytest.raises(MessageError, match=r"\$\.v"):
        bench.feed.publish(plan() | {"v": 2})
    assert bench.feed.publish(plan()) == 1


def test_document_that_is_not_durable_is_not_sent(bench, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalError) as error:
        bench.feed.publish(plan())
    assert error.value.code is IssueCode.DISK_FULL
    assert bench.documents() == []
    monkeypatch.undo()
    assert bench.feed.publish(plan()) == 1


def test_old_documents_are_deleted_except_in_force(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("telemetry.feed.revisions.MAX_STORED_REVISIONS", 3)
    assert MAX_STORED_REVISIONS > 96
    for _ in range(6):
        bench.feed.publish(plan())
        bench.answer(1)
    names = sorted(path.name[:8] for path in (tmp_path / "documents").iterdir())
    assert names == ["00000001", "00000004", "00000005", "00000006"]
    assert bench.feed.document_in_force("tso-1")["revision"] == 1


def test_old_documents_are_deleted_by_revision(tmp_path, monkeypatch):
    """Proves: with two partners three revisions are six documents, and stay."""
    monkeypatch.setattr("telemetry.feed.revisions.MAX_STORED_REVISIONS", 3)
    bench = Bench(tmp_path, "tso-1", "dso-2")
    for _ in range(4):
        bench.feed.publish(plan())
    names = sorted(path.name for path in (tmp_path / "documents").iterdir())
    assert names == [f"0000000{n}.{who}.jws" for n in (2, 3, 4) for who in ("dso-2", "tso-1")]


def test_time_of_a_status_never_falls(tmp_path):
    """Proves: neither a clock that is set back nor a restart lets a partner take it for a replay.

    Sensitivity: the times were those of the clock, 12:10 and then 12:00.
    """
    bench = Bench(tmp_path)
    for minute in (10, 0):
        bench.feed.publish_status("ok", reason=PublicReason.OPTIMUM, now=START + minute * MINUTE)
    again = Bench(tmp_path)
    again.feed.publish_status("ok", reason=PublicReason.OPTIMUM, now=START + 5 * MINUTE)
    again.feed.confirm_answer("tso-1", START)
    again.feed.publish_status("ok", reason=PublicReason.OPTIMUM, now=START + 11 * MINUTE)
    times = [(state["time"] - NOW) / 60_000 for state in bench.states() + again.states()]
    assert times == [10.0, 10.0, 10.0, 10.0, 11.0]


def test_full_disk_delays_no_status(bench, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    bench.feed.publish_status("hold", reason=PublicReason.HOLD_BY_PERSON, now=START)
    assert [state["state"] for state in bench.states()] == ["hold"]


class Slow(PublishToken):
    """A token that never completes and records the waits for it."""

    waits = []  # noqa: RUF012 - of all of them

    def wait(self, timeout):
        self.waits.append(timeout)
        return super().wait(timeout)


def test_flush_has_one_deadline_for_all(bench):
    bench.feed._tokens = [Slow() for _ in range(5)]
    assert not bench.feed.wait_acknowledged(0.05)
    assert Slow.waits[1:] == pytest.approx([0.0] * 4, abs=1e-6)


def test_early_answer_is_confirmed_by_first_status(bench):
    bench.feed.publish(plan())
    bench.answer(1)
    bench.feed.confirm_answer("tso-1", START)
    assert bench.states() == []
    bench.feed.publish_status("ok", reason=PublicReason.OPTIMUM, now=START)
    assert [state["in_force"] for state in bench.states()] == [1]


def test_confirmation_is_not_older_than_last_status(bench):
    """Proves: a HOLD between an answer and its confirmation remains the newest status."""
    bench.feed.publish(plan())
    bench.feed.publish_status("hold", reason=PublicReason.HOLD_BY_PERSON, now=START + MINUTE)
    bench.answer(1)
    bench.feed.confirm_answer("tso-1", START)
    states = [(state["state"], state["in_force"], state["time"]) for state in bench.states()]
    assert [row[:2] for row in states] == [("hold", None), ("hold", 1)]
    assert states[0][2] == states[1][2]


def test_status_is_sent_again_after_reconnection(bench):
    feed, wire = bench.feed, bench.wires["tso-1"]
    feed.publish_status("hold", reason=PublicReason.HOLD_BY_PERSON, now=START)
    feed.poll(START)
    assert len(bench.states()) == 1
    wire.counters["connections"] = 2  # the broker has published the will
    feed.poll(START)
    feed.poll(START)
    assert [state["state"] for state in bench.states()] == ["hold", "hold"]


def test_schedule_is_sent_again_after_reconnection(bench):
    """Proves: a killed broker that retained revision 1 receives the bytes of revision 2 again.

    Sensitivity: without that message revision 1 remains there until the next quarter-hour.
    """
    feed, wire = bench.feed, bench.wires["tso-1"]
    feed.publish(plan())
    feed.publish(plan(power=90.0))
    wire.counters["connections"] = 2
    feed.publish_status("ok", reason=PublicReason.OPTIMUM, now=START)  # on the new connection
    feed.poll(START)
    feed.poll(START)
    assert [document["revision"] for document in bench.documents()] == [1, 2, 2]
    assert wire.sent[1] == wire.sent[-1]
    assert len(bench.states()) == 1


def test_schedule_is_sent_again_after_restart(tmp_path):
    """Proves: after both broker and service ended, each partner's newest document is sent at once.

    Sensitivity: no schedule was retained until the next one, which needs telemetry.
    """
    bench = Bench(tmp_path, "tso-1", "dso-2")
    for power in (100.0, 90.0):
        bench.feed.publish(plan(power=power))
    again = Bench(tmp_path, "tso-1", "dso-2", "new-3")
    assert again.wires["tso-1"].sent == []  # it is not connected yet
    again.feed.poll(START)
    again.feed.poll(START)
    for name in ("tso-1", "dso-2"):
        assert again.wires[name].sent == bench.wires[name].sent[-1:]
    assert again.wires["new-3"].sent == []


def test_new_schedule_replaces_the_one_to_repeat(tmp_path):
    Bench(tmp_path).feed.publish(plan())
    bench = Bench(tmp_path)
    bench.feed.publish(plan(power=90.0))
    bench.feed.poll(START)
    assert [document["revision"] for document in bench.documents()] == [2]


def test_expired_or_lost_document_is_not_sent_again(tmp_path):
    """Proves: neither an expired document nor one without a file is sent again."""
    Bench(tmp_path).feed.publish(plan())
    late = Bench(tmp_path, start=START + 60 * MINUTE)
    (path,) = (tmp_path / "documents").iterdir()
    path.unlink()
    for bench in (late, Bench(tmp_path)):
        bench.feed.poll(START)
        assert bench.documents() == []
        assert bench.feed.publish(plan()) > 1


@pytest.mark.parametrize("change", [lambda text: text[:-9], lambda text: "A" + text[1:], str.lower])
def test_corrupt_document_is_not_sent_again(tmp_path, change):
    """Proves: a document with an invalid signature does not replace the retained one."""
    Bench(tmp_path).feed.publish(plan())
    (path,) = (tmp_path / "documents").iterdir()
    path.write_text(change(path.read_text()))
    bench = Bench(tmp_path)
    bench.feed.poll(START)
    assert bench.documents() == []
    assert bench.feed.publish(plan()) > 1


def test_each_partner_receives_its_fixed_baseline(tmp_path):
    """Proves: 80 MW fixed for tso-1 appear in its document only."""
    bench = Bench(tmp_path, "tso-1", "dso-2")
    bench.feed.publish(plan(), {"tso-1": {NOW: 80.0}})
    (first,), (second,) = bench.documents("tso-1"), bench.documents("dso-2")
    assert [row["baseline_mw"] for row in first["intervals"]] == [80.0] + [100.0] * 95
    assert {row["baseline_mw"] for row in second["intervals"]} == {100.0}
    assert {row["scheduled_mw"] for row in first["intervals"]} == {100.0}


def test_stop_publishes_offline(bench):
    bench.feed.publish(plan())
    bench.feed.stop(START)
    assert [(s["state"], s["revision"]) for s in bench.states()] == [("offline", 1)]
    assert bench.wires["tso-1"].is_stopped


@pytest.mark.parametrize("reason", PublicReason)
def test_status_states_code_and_public_text(bench, reason):
    bench.feed.publish_status("degraded", reason=reason, now=START)
    (state,) = bench.states()
    assert (state["code"], state["reason"]) == (reason.value, PUBLIC_TEXTS[reason])


CONTENT = {"correlation": "c-1", "code": "expired", "text": "too old", "reachable_from": None}
REFUSED = {"event": "target_refused", **CONTENT}


def notices(bench):
    """Return the notices that were sent, after a check of signature and schema."""
    sent = [payload for topic, payload in bench.wires["tso-1"].sent if topic.endswith("/notice")]
    site = public_jwk_set(key("rhine"))
    found = [json.loads(signing.verify_signature(one, site, kind="notice")) for one in sent]
    for document in found:
        check_schema(document, "notice")
    return found


def test_notice_is_signed_for_its_partner(bench):
    bench.feed.send_notice("tso-1", REFUSED, START)
    identity = {"v": 1, "site": "rhine", "partner": "tso-1", "time": NOW, "suppressed": 0}
    assert notices(bench) == [REFUSED | identity]


def test_notices_of_a_partner_are_rate_limited(bench, monkeypatch):
    """Proves: of 50 refusals 20 are sent, and a minute later the last, with the number left out."""
    for number in range(50):
        bench.feed.send_notice("tso-1", REFUSED | {"correlation": str(number)}, START)
    assert [one["correlation"] for one in notices(bench)] == [
        str(n) for n in range(MAX_LOGGED_REFUSALS)
    ]
    clock = time.monotonic
    monkeypatch.setattr(bench.feed._notice_limiter, "_clock", lambda: clock() + 61.0)
    bench.feed.poll(START)
    last = notices(bench)[-1]
    assert (last["correlation"], last["suppressed"]) == ("49", 50 - MAX_LOGGED_REFUSALS - 1)
    bench.feed.poll(START)
    assert len(notices(bench)) == MAX_LOGGED_REFUSALS + 1


KILLED = """
import sys
from pathlib import Path
from tests.support.feeds import START, Wire, key, partner, plan
from telemetry.feed.publisher import SchedulePublisher

class Loud(Wire):
    def publish(self, topic, payload, *, qos, retain):
        # a printed revision may have reached the partner
        print(feed.newest_revision, file=sys.stderr, flush=True)
        return super().publish(topic, payload, qos=qos, retain=retain)

connect = lambda name, will: Loud(will)
feed = SchedulePublisher(connect, site="rhine", partners=[partner()], key=key("rhine"),
            folder=Path(sys.argv[1]))
feed.start(START)
document = plan()
while True:
    feed.publish(document)
"""


@pytest.mark.slow
def test_no_revision_is_reused_across_kills(tmp_path, request):
    rng = np.random.default_rng(5)
    seen = []
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=request.config.rootpath,
        )
        seen += [int(process.stderr.readline()) for _ in range(int(rng.integers(1, 12)))]
        os.kill(process.pid, signal.SIGKILL)
        _, rest = process.communicate()
        seen += [int(line) for line in rest.split(b"\n")[:-1]]
        state = json.loads((tmp_path / "state.json").read_text())
        assert state["revision"] >= seen[-1]
    assert seen == sorted(set(seen))


def test_status_of_a_schedule_or_answer_needs_no_write_of_its_own(bench, tmp_path, monkeypatch):
    """Proves: state.json is written once for a schedule and once for an answer.

    Sensitivity: the time of the status after each was a second write.
    """
    written, write = [], revisions.write_atomic

    def count(path, text):
        written.append(path.name)
        write(path, text)

    monkeypatch.setattr(revisions, "write_atomic", count)
    bench.feed.publish(plan())
    bench.feed.publish_status("ok", reason=PublicReason.OPTIMUM, now=START)
    assert written.count("state.json") == 1
    bench.answer(1)
    bench.feed.confirm_answer("tso-1", START)
    assert written.count("state.json") == 2
    assert Bench(tmp_path).feed._revisions.status_time == NOW
