"""`gigatwin events`, and `gigatwin audit verify`: the record against hashes and a schedule."""

import json

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.service.alarms import AlarmCondition, AlarmList
from optimizer.service.audit import (
    AUDIT_FILE,
    GENESIS_HASH,
    AuditEvent,
    AuditLog,
    read_entries,
)
from optimizer.service.hold import Hold
from optimizer.service.hold_register import order_event, release_event
from optimizer.service.operators import Requester
from optimizer.service.state_folder import StateFolder
from optimizer.service.status import AlarmCode
from telemetry.feed.flex_agent import TargetEvent, log_refused_target
from telemetry.feed.partners import document_series
from tests.support.feeds import MINUTE, START
from tests.support.partner_links import Bench


@pytest.fixture
def published(tmp_path):
    """Return a state folder with three entries, and a schedule that was sent after the second."""
    folder = tmp_path / "state"
    with StateFolder(folder, site="small"):
        pass
    bench = Bench(folder)
    with bench.open(0):
        for number in range(2):
            bench.link.audit.add({"event": "hold", "number": number})
        bench.publish(0, 2.0)
        bench.link.audit.add({"event": "release"})
    sent = [text for topic, text in bench.wires["tso-1"].sent if topic.endswith("/schedule")]
    schedule = tmp_path / "schedule.jws"
    schedule.write_bytes(sent[-1] + b"\n")
    return folder, schedule


def verify(folder, *options):
    """Return the status of the command, and its JSON or its error."""
    arguments = ["audit", "verify", "small", "--state", str(folder), "--json", "-"]
    result = CliRunner().invoke(app, [*arguments, *map(str, options)])
    return result.exit_code, json.loads(result.stdout) if result.stdout else result.stderr


def test_published_schedule_stands_for_the_entries_before_it(published):
    folder, schedule = published
    status, found = verify(folder, "--against", schedule)
    hashes = [entry.hash for entry in read_entries(folder / AUDIT_FILE)]
    assert status == 0
    assert found == {
        "entries": 3,
        "head": hashes[2],
        "damages": [],
        "anchor": hashes[1],
        "anchor_entries": 2,
    }


def test_record_without_schedule_is_compared_with_its_hashes(published):
    folder, _ = published
    assert verify(folder)[0] == 0
    path = folder / AUDIT_FILE
    path.write_text(path.read_text().replace('"number":1', '"number":4'))
    status, found = verify(folder)
    assert (status, found["damages"]) == (1, ["audit.jsonl, line 2"])


def test_record_written_anew_is_known_by_the_schedule(published):
    folder, schedule = published
    (folder / AUDIT_FILE).unlink()
    AuditLog(folder / AUDIT_FILE).add({"event": "hold", "number": 1})
    assert verify(folder)[0] == 0
    status, found = verify(folder, "--against", schedule)
    assert (status, found["anchor_entries"], found["damages"]) == (1, None, [])
    assert found["anchor"] != GENESIS_HASH


def test_schedule_of_another_key_is_no_proof(published):
    folder, schedule = published
    text = schedule.read_text().strip()
    schedule.write_text(text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB"))
    status, error = verify(folder, "--against", schedule)
    assert status == 1
    assert "whose signature matches" in " ".join(error.split())
    status, error = verify(folder, "--against", folder / "missing.jws")
    assert status == 1
    assert "missing.jws" in error


def test_folder_without_a_record_is_refused(tmp_path):
    status, error = verify(tmp_path)
    assert status == 1
    assert AUDIT_FILE in error


def decision(time, revision, **fields):
    """Return the entry of a decision."""
    plan = {"event": "decision", "start": time, "time": time, "is_shadow": False}
    return plan | {"source": "optimum", "revision": revision, "degraded": "", **fields}


def events(folder, *options):
    """Return kind, text and author of the events that the command lists, and what it prints."""
    words = ["events", "small", "--state", str(folder), "--json", "-", *options]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    rows = [(one["kind"], one["text"], one["author"]) for one in found["events"]]
    return rows, result.stderr, found


@pytest.fixture
def shift(tmp_path):
    """Return a state folder with the record of a shift: alarm, HOLD, fallback, refusals, target."""
    folder = tmp_path / "state"
    bench = Bench(folder)
    audit, alarms = bench.link.audit, AlarmList(bench.link.audit.add)
    silent = AlarmCondition(code=AlarmCode.DECISION, text="no telemetry")
    target = {"start": "2026-06-16T13:00:00.000000", "end": None, "power_mw": 2.5}
    taken = {
        "event": TargetEvent.TAKEN,
        "partner": "tso-1",
        "correlation": "c",
        "targets": [target],
    }
    refused = log_refused_target("tso-1", "found 9 MW; expected at most 4 MW")
    requester = Requester(channel="page")
    hold = Hold(number=3, author="ann", reason="oil sample", since=0.0)
    with bench.open(0):
        for minute in (1, 2):
            bench.publish(minute, 2.0)
            revision = bench.link.feed.newest_revision
            audit.add(decision(f"2026-06-16T12:0{minute}:00Z", revision))
            bench.answer(revision, minute, mrid=document_series("small", "tso-1", revision))
        alarms.update([silent], now=START + 3 * MINUTE)
        bench.link.targets.poll = lambda _: [refused, taken]
        bench.link.poll(START + 4 * MINUTE)
        bench.link.targets.poll = lambda _: []
        alarms.update([], now=START + 5 * MINUTE)
        audit.add(order_event(AuditEvent.HOLD, hold, requester) | {"time": "2026-06-16T12:06:00Z"})
        audit.add(release_event(hold, "ben", requester) | {"time": "2026-06-16T12:07:00Z"})
        audit.add(decision("2026-06-16T12:08:00Z", 2, source="rule", degraded="no solution"))
        whose = {"name": "dso-2", "mrid": document_series("small", "dso-2", revision)}
        bench.answer(revision, 9, code="A02", **whose)
        bench.link.record_no_plan(START + 10 * MINUTE, "no telemetry")
    return folder


def test_events_of_a_shift_are_listed_in_order(shift):
    rows, _, found = events(shift, "--since", "2026-06-16")
    assert rows == [
        ("schedule", "optimised", "service"),
        ("answer", "accepted", "tso-1"),
        ("schedule", "optimised", "service"),
        ("answer", "accepted", "tso-1"),
        ("alarm", "high: no telemetry", "service"),
        ("refusal", "from tso-1: found 9 MW; expected at most 4 MW", "service"),
        ("target", "at most 2.5 MW from 2026-06-16T13:00Z until further notice", "tso-1"),
        ("alarm off", "no telemetry", "service"),
        ("hold", "oil sample", "ann"),
        ("release", "placed by ann", "ben"),
        ("fallback", "by a rule: no solution", "service"),
        ("refusal", "rejected: A51 because", "dso-2"),
        ("no plan", "no telemetry", "service"),
    ]
    times = [one["time"] for one in found["events"]]
    assert times[-6:] == [f"2026-06-16T12:{minute:02}:00Z" for minute in (5, 6, 7, 8, 9, 10)]
    assert times == sorted(times)
    assert {one["subject"] for one in found["events"]} >= {"decision", "HOLD 3", "load target c"}


def test_plans_and_their_answers_share_a_line(shift):
    _, printed, _ = events(
        shift, "--since", "2026-06-16T14:01+02:00", "--until", "2026-06-16T14:02"
    )
    (day, plans, answers) = printed.splitlines()[2:]
    assert day.split() == ["2026-06-16", "+02:00"]
    words = plans.split()
    assert words[:4] == ["14:01:00", "schedule", "optimised,", "revisions"]
    assert words[7:] == ["2", "times", "until", "14:02:00", "service"]
    assert answers.split()[:2] == ["14:01:00", "answer"]


def test_period_outside_the_record_names_its_newest_entry(shift):
    rows, printed, _ = events(shift)
    assert rows == []
    assert "its newest entry is of 2026-06-16T14:10:00+02:00" in printed


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "-2 h", "3 MW", "12", ""])
def test_other_forms_of_a_moment_are_refused(shift, text):
    words = ["events", "small", "--state", str(shift), f"--since={text}"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "yesterday, today, now, a period before now" in " ".join(result.stderr.split())


def test_hour_that_occurs_twice_is_shown_with_both_offsets(tmp_path):
    audit = AuditLog(tmp_path / AUDIT_FILE)
    for number, hour in enumerate(("00:30", "01:30")):
        audit.add(decision(f"2026-10-25T{hour}:00Z", number, reason=f"n {number}"))
    _, printed, _ = events(tmp_path, "--since", "2026-10-24", "--until", "2026-10-26")
    words = [line.split()[:2] for line in printed.splitlines()[2:]]
    assert words == [
        ["2026-10-25", "+02:00"],
        ["02:30:00", "schedule"],
        ["2026-10-25", "+01:00"],
        ["02:30:00", "schedule"],
    ]


def test_edited_line_is_listed_with_its_damage(shift):
    path = shift / AUDIT_FILE
    path.write_text(path.read_text().replace("oil sample", "old sample"))
    rows, printed, found = events(shift, "--since", "2026-06-16")
    assert ("hold", "old sample", "ann") in rows
    assert found["damages"] == ["audit.jsonl, line 5 from the end"]
    assert "gigatwin audit verify small" in " ".join(printed.split())
