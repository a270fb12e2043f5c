"""`gigatwin audit verify`: the record against its hashes and against a schedule of a partner."""

import json

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.service.audit import AUDIT_FILE, GENESIS_HASH, AuditLog, read_entries
from optimizer.service.state_folder import StateFolder
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
