"""HOLD and release by command: only on the folder of the named site."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.service import control_socket
from optimizer.service.audit import AUDIT_FILE, AuditLog, read_entries
from optimizer.service.control_socket import ControlServer
from optimizer.service.hold_register import HoldRegister, StoredHolds
from optimizer.service.operators import TOKEN_ENVIRONMENT_VARIABLE, add_operator
from optimizer.service.state_folder import StateFolder

REASON = ["--reason", "a smell at chiller 2", "--author", "ana"]
ANA = f"ana, not signed in (command, uid {os.getuid()})"


def give(*words):
    wide = {"COLUMNS": "400"}  # a longer path of the temporary folder would wrap
    result = CliRunner(env=wide).invoke(app, [*words])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a service of `small` that does not run."""
    with StateFolder(tmp_path / "state", site="small") as taken:
        return taken.path


def held(folder):
    return HoldRegister(folder / "hold.json").combined_hold(0.0)


@pytest.fixture
def eva(folder, monkeypatch):
    """Sign in as an operator of the folder."""
    monkeypatch.setenv(TOKEN_ENVIRONMENT_VARIABLE, add_operator(folder, "eva"))


@pytest.mark.parametrize("words", [["hold", *REASON], ["release"], ["status"], ["explain"]])
def test_folder_of_another_site_is_refused(folder, words):
    """Proves: an order to `rhine` neither changes nor reports the folder of `small`."""
    HoldRegister(folder / "hold.json").set_hold(author="eva", reason="storm", now=0.0)
    order, *options = words
    code, text = give(order, "rhine", *options, "--state", str(folder))
    assert code == 1
    assert f"{folder} = rhine: small, whose state this is" in text
    assert held(folder).author == "eva"


def test_orders_without_a_service_are_recorded(folder, monkeypatch):
    """Proves: every order of a person is recorded. Sensitivity: none was."""
    HoldRegister(folder / "hold.json").create_file()
    AuditLog(folder / AUDIT_FILE).add({"event": "decision"})
    place = ["small", "--state", str(folder)]
    assert give("hold", *place, *REASON)[0] == 0
    monkeypatch.setenv(TOKEN_ENVIRONMENT_VARIABLE, add_operator(folder, "eva"))
    assert give("hold", *place, "--replace", "1", "--hours", "2")[0] == 0
    assert give("release", *place)[0] == 0
    orders = [entry.content for entry in read_entries(folder / AUDIT_FILE)][1:]
    assert [(row["event"], row["author"]) for row in orders] == [
        ("hold", ANA),
        ("replace", "eva"),
        ("release", "eva"),
    ]
    for row in orders:
        assert row["is_offline"]
        assert (row["hold"], row["channel"], row["uid"]) == (1, "command", os.getuid())
        assert row["wall_time"].endswith("Z")


@pytest.mark.parametrize("words", [["release"], ["hold", "--replace", "1"]])
@pytest.mark.parametrize("token", ["", "guessed"])
def test_only_an_operator_ends_or_changes_a_hold(folder, monkeypatch, words, token):
    """Proves: without an operator's token nothing changes, also without a service.

    Sensitivity: `release --author ANYBODY` ended it, and the same author replaced it.
    """
    monkeypatch.setenv(TOKEN_ENVIRONMENT_VARIABLE, token)
    give("hold", "small", *REASON, "--state", str(folder))
    order, *options = words
    code, text = give(order, "small", *options, "--state", str(folder))
    assert code == 1
    assert "gigatwin operators add NAME" in text
    assert give("hold", "small", *REASON, "--hours", "0.01", "--state", str(folder))[0] == 0
    assert [one.until is None for one in StoredHolds(folder).in_force()] == [True, False]


@pytest.mark.usefixtures("eva")
def test_one_of_several_holds_is_named(folder):
    """Proves: `release` without a number ends no HOLD if there are several."""
    place = ["small", "--state", str(folder)]
    give("hold", *place, *REASON)
    give("hold", *place, "--reason", "storm")
    code, text = give("release", *place)
    assert code == 1
    assert "1 of eva: a smell at chiller 2; 2 of eva: storm" in text
    code, text = give("release", *place, "2")
    assert (code, held(folder).number) == (0, 1)
    assert text.endswith("1 more in force, see gigatwin status small")
    assert give("release", *place, "2")[0] == 1


def test_sudo_does_not_hide_the_person(folder, monkeypatch):
    """Proves: `sudo -u gigatwin` states the name of the person who ran it, as not signed in.

    Sensitivity: everybody was recorded as `gigatwin`.
    """
    monkeypatch.setenv("SUDO_USER", "ana")
    assert give("hold", "small", "--reason", "leak", "--state", str(folder))[0] == 0
    assert held(folder).author == ANA


def test_hold_that_ends_by_itself(folder):
    words = ["hold", "small", *REASON, "--state", str(folder), "--resume"]
    code, text = give(*words)
    assert code == 1
    assert "hours = none" in text
    assert give(*words, "--hours", "2")[0] == 0
    assert held(folder).is_self_ending


@pytest.mark.usefixtures("eva")
def test_replaced_hold_keeps_how_it_ends(folder):
    """Sensitivity: `--replace 1 --resume` succeeded, and the HOLD did not end by itself."""
    place = ["hold", "small", "--state", str(folder)]
    give(*place, *REASON)
    code, text = give(*place, "--replace", "1", "--resume", "--hours", "1")
    assert code == 1
    assert "--resume = --replace 1" in text
    assert held(folder).until is None


@pytest.mark.usefixtures("eva")
@pytest.mark.parametrize("order", [["release"], ["hold", "--replace", "1", "--hours", "1"]])
def test_hold_is_ended_or_changed_by_one_process_only(folder, order):
    """Proves: while a service starts, its HOLD is not ended behind it.

    Sensitivity: the command succeeded, and the service still held.
    """
    give("hold", "small", *REASON, "--state", str(folder))
    before = held(folder)
    word, *options = order
    with StateFolder(folder):
        code, text = give(word, "small", *options, "--state", str(folder))
    assert code == 1
    assert "another service runs on this state" in text
    assert held(folder) == before


@pytest.mark.usefixtures("eva")
def test_another_persons_hold_is_released_by_number_only(folder, monkeypatch):
    """Sensitivity: `release` ended the HOLD that was alone, whose ever it was."""
    place = ["small", "--state", str(folder)]
    token = os.environ[TOKEN_ENVIRONMENT_VARIABLE]
    monkeypatch.delenv(TOKEN_ENVIRONMENT_VARIABLE)
    give("hold", *place, *REASON)
    monkeypatch.setenv(TOKEN_ENVIRONMENT_VARIABLE, token)
    code, text = give("release", *place)
    assert code == 1
    assert f"1 of {ANA}: a smell at chiller 2" in text
    code, text = give("release", *place, "1", "--of", "bo")
    assert code == 1
    assert f"1 of {ANA}: a smell at chiller 2" in text
    assert give("release", *place, "1", "--of", ANA)[0] == 0


def test_hold_is_stored_if_the_service_ends_meanwhile(folder, monkeypatch):
    """Sensitivity: the command failed because no service runs, and stored nothing."""
    real, answers = control_socket.is_service_running, [True]

    def ended(path):
        return answers.pop() if answers else real(path)

    monkeypatch.setattr("optimizer.cli.hold.is_service_running", ended)
    code, text = give("hold", "small", *REASON, "--state", str(folder))
    assert code == 0, text
    assert "it will start in HOLD" in text
    assert held(folder).author == ANA


def test_hold_with_a_full_queue_is_stored(folder, monkeypatch):
    """Proves: a service that accepts nobody does not block HOLD. Sensitivity: it waited forever."""
    monkeypatch.setattr(control_socket, "ANSWER_TIMEOUT_S", 0.2)
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        deaf.bind(str(folder / "control.sock"))
        deaf.listen(0)
        for _ in range(2):
            wire = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            wire.setblocking(False)
            with suppress(BlockingIOError):
                wire.connect(str(folder / "control.sock"))
        assert control_socket.is_service_running(folder)
        code, text = give("hold", "small", *REASON, "--state", str(folder))
    assert code == 1
    assert "whether it holds now is unknown" in text
    assert held(folder).author == ANA


def test_status_shows_hold_without_a_service(folder):
    assert give("hold", "small", *REASON, "--state", str(folder))[0] == 0
    code, text = give("status", "small", "--state", str(folder))
    assert code == 1
    assert f"its next start holds, by {ANA}: a smell at chiller 2" in text


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
    assert held(folder).author == ANA


def test_site_is_known_by_name_without_its_file(tmp_path):
    with StateFolder(tmp_path, site="elbe"):
        pass
    code, text = give("hold", "elbe", *REASON, "--state", str(tmp_path))
    assert (code, held(tmp_path).author) == (0, ANA)
    assert f"no service of elbe runs on {tmp_path}; it will start in HOLD" in text


@pytest.mark.parametrize("words", [["hold", *REASON], ["release"], ["status"], ["explain"]])
def test_own_site_is_known_by_name_in_its_folder(tmp_path, monkeypatch, words):
    """Proves: the name and the default folder suffice; `explain` used to need the path.

    Sensitivity: an operator was asked for a path or a declared site.
    """
    monkeypatch.delenv("GIGATWIN_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with StateFolder(tmp_path / "gigatwin" / "elbe", site="elbe") as folder:
        HoldRegister(folder.path / "hold.json").create_file()
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
    assert held(tmp_path).author == ANA


@pytest.mark.parametrize("words", [["hold", *REASON], ["release"]])
def test_order_in_an_empty_folder_fails(tmp_path, words):
    """Proves: a missing --state gives an exit status and leaves no file."""
    order, *options = words
    code, text = give(order, "small", *options, "--state", str(tmp_path))
    assert code == 1
    assert f"{tmp_path}: a state folder in which a service has run; name the folder" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("eva")
def test_release_reports_whether_hold_was_set(folder):
    words = ["release", "small", "--state", str(folder)]
    assert give(*words) == (0, f"small ({folder}) was not held; nothing is changed")
    give("hold", "small", *REASON, "--state", str(folder))
    released = "HOLD 1 of eva: a smell at chiller 2 is released, by eva"
    assert give(*words) == (0, f"small ({folder}) {released}")
    assert held(folder) is None


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ([], {"hold": None, "of": ""}),
        (["4"], {"hold": 4, "of": "ana"}),
        (["4", "--of", "bo"], {"hold": 4, "of": "bo"}),
    ],
)
def test_release_names_hold_and_author_to_a_service(folder, monkeypatch, words, sent):
    """Proves: the order carries number and author, so that it ends no other person's HOLD."""
    row = {"number": 4, "author": "ana", "reason": "leak"}
    received = []

    def answer(command, _):
        received.append(command)
        if command["command"] == "status":
            return {"snapshot": {"holds": [row]}}
        return {"hold": row, "operator": "eva"}

    monkeypatch.setenv(TOKEN_ENVIRONMENT_VARIABLE, "a-token")
    with ControlServer(folder / "control.sock", answer):
        text = give("release", "small", *words, "--state", str(folder))[1]
    assert text == f"small ({folder}) HOLD 4 of ana: leak is released, by eva"
    assert received[-1] == {"command": "release", "token": "a-token"} | sent


def test_running_service_without_a_hold_is_not_released(folder):
    with ControlServer(folder / "control.sock", lambda *_: {"snapshot": {"holds": []}}):
        text = give("release", "small", "--state", str(folder))[1]
    assert text.startswith(f"small ({folder}) was not held; nothing is changed")


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

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", fails)
    code, text = give("hold", "small", "--reason", "leak", "--state", str(folder))
    assert code == 0, text
    assert held(folder).author.startswith(f"user {os.getuid()}, not signed in")
