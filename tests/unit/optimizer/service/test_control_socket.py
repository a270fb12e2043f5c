"""The control socket: local commands; no input stops it."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from optimizer.service import control_socket
from optimizer.service.control_socket import (
    MAX_COMMAND_BYTES,
    ControlServer,
    ServiceUnresponsiveError,
    is_service_running,
    send_command,
)
from twin.errors import IssueCode, ServiceError, ValidationIssue

WAIT = 60.0


def answer(command, uid):
    match command:
        case {"command": "who"}:
            return {"uid": uid}
        case {"command": "echo", **rest}:
            return {"echo": rest}
        case {"command": "refuse"}:
            raise ServiceError(
                "socket",
                [
                    ValidationIssue(
                        expected="a reading",
                        code=IssueCode.INCONSISTENT,
                        location="command",
                        found="",
                        remedy="not today",
                    )
                ],
            )
        case {"command": "fail"}:
            raise RuntimeError(command["command"])
        case {"command": "nan"}:
            return {"value": float("nan")}
    raise ServiceError(
        "socket",
        [
            ValidationIssue(
                expected="a reading",
                code=IssueCode.INCONSISTENT,
                location="command",
                found=repr(command)[:80],
                remedy="no such",
            )
        ],
    )


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Wait longer than a stalled machine takes to answer."""
    monkeypatch.setattr(control_socket, "ANSWER_TIMEOUT_S", WAIT)


@pytest.fixture
def folder(tmp_path):
    with ControlServer(tmp_path / "control.sock", answer):
        yield tmp_path


def send_raw(folder, data, *, is_ended=True):
    """Send bytes and return the answer, decoded."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
        wire.settimeout(WAIT)
        wire.connect(str(folder / "control.sock"))
        with suppress(BrokenPipeError):  # the answer may come before all is sent
            wire.sendall(data)
            if is_ended:
                wire.shutdown(socket.SHUT_WR)
        return json.loads(wire.makefile("rb").readline())


def test_a_command_is_answered(folder):
    arguments = {"hours": 2.5, "reason": 'grün\n"', "nothing": None}
    assert send_command(folder, "echo", **arguments) == {"echo": arguments}


def test_refusal_carries_its_reason_and_code(folder):
    with pytest.raises(ServiceError, match="not today") as caught:
        send_command(folder, "refuse")
    assert caught.value.code is IssueCode.INCONSISTENT


def test_sender_is_known_by_the_uid_of_its_process(folder):
    """Proves: the system states the uid; a command cannot claim another."""
    assert send_command(folder, "who", uid=0, peer_uid=0) == {"uid": os.getuid()}
    if os.getuid() == 0:
        command = [sys.executable, "-c", AS_NOBODY, str(folder / "control.sock")]
        (folder / "control.sock").chmod(0o666)
        folder.chmod(0o755)
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(found.stdout) == {"ok": True, "uid": 12_345}


AS_NOBODY = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as wire:
    os.chdir(os.path.dirname(sys.argv[1]))
    os.setuid(12345)
    wire.connect("control.sock")
    wire.sendall(b'{"command": "who", "uid": 0}\\n')
    print(wire.makefile().readline())
"""


def test_permissions_of_a_shared_socket(tmp_path):
    with ControlServer(tmp_path / "control.sock", answer, mode=0o660):
        assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o660


def test_internal_error_is_reported_and_the_server_continues(folder):
    with pytest.raises(ServiceError, match="RuntimeError: fail"):
        send_command(folder, "fail")
    with pytest.raises(ServiceError, match="nan"):
        send_command(folder, "nan")
    assert send_command(folder, "echo") == {"echo": {}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"no json\n",
        b"\xff\xfe\x00\n",
        b"[]\n",
        b"7\n",
        b"null\n",
        b'{"command": 1}\n',
        b'{"command": "echo"',
        b"[" * 60_000 + b"\n",
        b'{"a":' * 10_000 + b"\n",
        b"a" * MAX_COMMAND_BYTES + b"\n",
        b'{"command": "echo", "text": "' + b"a" * MAX_COMMAND_BYTES + b'"}\n',
        b"1" * 60_000 + b"\n",
    ],
)
def test_invalid_bytes_are_refused_and_the_server_continues(folder, line):
    response = send_raw(folder, line)
    assert response["ok"] is False
    assert response["error"]
    assert send_command(folder, "echo") == {"echo": {}}


def test_too_long_line_is_refused(folder):
    assert "longer than 65536 bytes" in send_raw(folder, b"a" * (MAX_COMMAND_BYTES + 2))["error"]


def test_slow_client_does_not_block_others(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as slow:
        slow.connect(str(folder / "control.sock"))
        slow.sendall(b'{"comm')
        assert send_command(folder, "echo") == {"echo": {}}
        slow.sendall(b'and": "echo"}\n')
        slow.settimeout(WAIT)
        assert json.loads(slow.makefile("rb").readline()) == {"ok": True, "echo": {}}


def test_incomplete_command_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(control_socket._Handler, "timeout", 0.05)
    with ControlServer(tmp_path / "control.sock", answer):
        response = send_raw(tmp_path, b'{"comm', is_ended=False)
    assert response == {"ok": False, "error": "no command: timed out", "code": "refused"}


def test_disconnected_clients_leave_no_traceback(folder, capfd):
    for data in (b"", b'{"command": "echo"}\n', b"rubbish\n", b'{"com'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
            wire.connect(str(folder / "control.sock"))
            wire.sendall(data)
    assert is_service_running(folder)
    assert send_command(folder, "echo") == {"echo": {}}
    assert "Traceback" not in capfd.readouterr().err


def test_many_clients_are_answered_at_once(folder):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: send_command(folder, "echo", n=n), range(64)))
    assert answers == [{"echo": {"n": n}} for n in range(64)]


def test_command_is_answered_without_new_threads(folder, monkeypatch):
    """Proves: HOLD works at the thread limit of system or container."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert send_command(folder, "echo") == {"echo": {}}


def test_service_that_hangs_up_counts_as_running(folder, monkeypatch):
    """Proves: a service that runs is not reported as missing."""
    monkeypatch.setattr(control_socket._Handler, "handle", lambda _: None)
    with pytest.raises(ServiceUnresponsiveError, match="does not answer"):
        send_command(folder, "status")


def test_only_the_owner_may_send_commands(folder):
    mode = (folder / "control.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_socket_is_private_from_the_start(tmp_path):
    """Other threads may create files meanwhile: the umask of the process is unchanged."""
    before = os.umask(0o022)
    try:
        with ControlServer(tmp_path / "control.sock", answer):
            assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


@pytest.mark.parametrize("length", [60, 200])
def test_long_paths_can_be_used(tmp_path, length):
    folder = tmp_path / ("x" * length)
    folder.mkdir()
    assert not is_service_running(folder)
    with ControlServer(folder / "control.sock", answer):
        assert is_service_running(folder)
        assert send_command(folder, "echo") == {"echo": {}}
        assert stat.S_IMODE((folder / "control.sock").stat().st_mode) == 0o600
    assert not (folder / "control.sock").exists()


def test_folder_without_sockets_is_named(tmp_path):
    """Proves: a read-only state folder gives one line with location and remedy."""
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match=r"file/control\.sock = .*user may create a socket"):
        ControlServer(tmp_path / "file" / "control.sock", answer)


def test_socket_of_a_killed_service_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    assert not is_service_running(tmp_path)
    with pytest.raises(ServiceError, match="start it with gigatwin run"):
        send_command(tmp_path, "status")
    with ControlServer(tmp_path / "control.sock", answer):
        assert is_service_running(tmp_path)
    assert not is_service_running(tmp_path)


@pytest.mark.parametrize("place", ["", "missing"])
def test_missing_service_is_reported(tmp_path, place):
    with pytest.raises(ServiceError, match="no service runs on this state"):
        send_command(tmp_path / place, "status")


def test_unresponsive_service_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(control_socket, "ANSWER_TIMEOUT_S", 0.05)
    done = threading.Event()
    with ControlServer(tmp_path / "control.sock", lambda *_: {"late": done.wait(WAIT)}):
        with pytest.raises(ServiceError, match="does not answer"):
            send_command(tmp_path, "status")
        done.set()
