"""HOLD and release by command: only on the folder of the named site."""

import os
import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.service.audit import AUDIT_FILE, AuditLog, read_audit
from optimizer.service.control_socket import ControlServer
from optimizer.service.hold import HoldRegister
from optimizer.service.state_folder import StateFolder

REASON = ["--reason", "work on chiller 2", "--author", "ana"]


def give(*words):
    result = CliRunner().invoke(app, [*words])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a service of `small` that does not run."""
    with StateFolder(tmp_path / "state", site="small") as taken:
        return taken.path


def held(folder):
    return HoldRegister(folder / "hold.json").in_force(0.0)


@pytest.mark.parametrize("words", [["hold", *REASON], ["release"], ["status"], ["explain"]])
def test_folder_of_another_site_is_refused(folder, words):
    """Proves: an order to `rhine` neither changes nor reports the folder of `small`."""
    HoldRegister(folder / "hold.json").set_hold(author="eva", reason="storm", now=0.0)
    order, *options = words
    code, text = give(order, "rhine", *options, "--state", str(folder))
    assert code == 1
    assert f"{folder} = rhine: small, whose state this is" in text
    assert held(folder).author == "eva"


def test_orders_without_a_service_are_recorded(folder):
    """Proves: every order of a person is recorded. Sensitivity: none was."""
    AuditLog(folder / AUDIT_FILE).add({"event": "decision"})
    assert give("hold", "small", *REASON, "--state", str(folder))[0] == 0
    assert give("release", "small", "--author", "eva", "--state", str(folder))[0] == 0
    orders = [entry.content for entry in read_audit(folder / AUDIT_FILE)][1:]
    assert [(row["event"], row["author"]) for row in orders] == [
        ("hold", "ana"),
        ("release", "eva"),
    ]
    assert all(row["is_offline"] for row in orders)


def test_status_shows_hold_without_a_service(folder):
    assert give("hold", "small", *REASON, "--state", str(folder))[0] == 0
    code, text = give("status", "small", "--state", str(folder))
    assert code == 1
    assert "its next start holds, by ana: work on chiller 2" in text


def test_unresponsive_service_is_held_at_next_start(folder, monkeypatch):
    """Proves: HOLD is stored after a failure, and the message says what to do."""
    monkeypatch.setattr("optimizer.service.control_socket.ANSWER_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf, StateFolder(folder):
        deaf.bind(str(folder / "control.sock"))
        deaf.listen()
        code, text = give("hold", "small", *REASON, "--state", str(folder))
    assert code == 1
    assert "whether it holds now is unknown" in text
    assert "systemctl stop gigatwin@small" in text
    assert held(folder).author == "ana"


def test_site_is_known_by_name_without_its_file(tmp_path):
    with StateFolder(tmp_path, site="elbe"):
        pass
    code, text = give("hold", "elbe", *REASON, "--state", str(tmp_path))
    assert (code, held(tmp_path).author) == (0, "ana")
    assert f"no service of elbe runs on {tmp_path}; it will start in HOLD" in text


@pytest.mark.parametrize("words", [["hold", *REASON], ["release"], ["status"], ["explain"]])
def test_own_site_is_known_by_name_in_its_folder(tmp_path, monkeypatch, words):
    """Proves: the name and the default folder suffice; `explain` used to need the path.

    Sensitivity: an operator was asked for a path or a declared site.
    """
    monkeypatch.delenv("GIGATWIN_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with StateFolder(tmp_path / "gigatwin" / "elbe", site="elbe") as folder:
        AuditLog(folder.path / AUDIT_FILE).add({"event": "no_plan", "time": "2026-06-16T00:00:00Z"})
    order, *options = words
    _, text = give(order, "elbe", *options)
    assert "declared" not in text
    assert "one of baltica" not in text
    assert "elbe" in text


@pytest.mark.parametrize("words", [["hold", *REASON], ["release"]])
def test_order_without_a_startable_service_fails(tmp_path, words):
    """Proves: no message promises a start in HOLD where no service can start."""
    (tmp_path / "schema.json").write_text("")
    order, *options = words
    code, text = give(order, "small", *options, "--state", str(tmp_path))
    assert code == 1
    assert "schema.json = 0 B: version 1; the file is damaged; write" in text
    assert not (tmp_path / "hold.json").exists()


def test_older_folder_without_site_name_accepts_orders(tmp_path):
    with StateFolder(tmp_path):
        pass
    assert give("hold", "small", *REASON, "--state", str(tmp_path))[0] == 0
    assert held(tmp_path).author == "ana"


@pytest.mark.parametrize("words", [["hold", *REASON], ["release"]])
def test_order_in_an_empty_folder_fails(tmp_path, words):
    """Proves: a missing --state gives an exit status and leaves no file."""
    order, *options = words
    code, text = give(order, "small", *options, "--state", str(tmp_path))
    assert code == 1
    assert f"{tmp_path}: a state folder in which a service has run; name the folder" in text
    assert list(tmp_path.iterdir()) == []


def test_release_reports_whether_hold_was_set(folder):
    words = ["release", "small", "--author", "eva", "--state", str(folder)]
    assert give(*words) == (0, f"small ({folder}) was not held; nothing is changed")
    give("hold", "small", *REASON, "--state", str(folder))
    released = f"small ({folder}) is released, by eva"
    assert give(*words) == (0, f"{released}; it ended the HOLD of ana: work on chiller 2")
    assert held(folder) is None
    give("hold", "small", "--reason", "a look", "--author", "eva", "--state", str(folder))
    assert give(*words) == (0, released)


@pytest.mark.parametrize(
    ("was_held", "output"), [(True, "is released, by eva"), (False, "was not held; nothing is")]
)
def test_running_service_reports_whether_hold_was_set(folder, was_held, output):
    with ControlServer(folder / "control.sock", lambda _: {"was_held": was_held}):
        text = give("release", "small", "--author", "eva", "--state", str(folder))[1]
    assert text.startswith(f"small ({folder}) {output}")


def test_order_to_a_service_loads_no_heavy_library():
    """Proves: HOLD does not wait for slow imports. Sensitivity: it did, for the record."""
    code = (
        "import sys, optimizer.cli.hold, optimizer.cli.hold, optimizer.cli.status; "
        "sys.exit(any(name in sys.modules for name in ('numpy', 'xarray', 'pandas', 'pyomo')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("error", [OSError, KeyError])
def test_user_without_a_name_can_hold(folder, monkeypatch, error):
    """Proves: a container user without a name can order HOLD.

    Sensitivity: `cannot read or write: No username set in the environment; give another path`.
    """

    def fails():
        raise error

    monkeypatch.setattr("getpass.getuser", fails)
    code, text = give("hold", "small", "--reason", "leak", "--state", str(folder))
    assert code == 0, text
    assert held(folder).author == f"user {os.getuid()}"
