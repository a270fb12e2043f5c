"""Commands to the service on the same machine, through a socket in its state folder.

Each side sends one JSON object a line: ``{"command": "hold", ...}`` gets ``{"ok": true, ...}`` or
``{"ok": false, "error": "...", "code": "..."}``. The permissions of the folder and of the socket
decide who may send commands; the handler also receives the uid of the sending process.
"""

import json
import os
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import msgspec
import structlog

from telemetry.runtime import SupervisedThread
from twin.errors import GigatwinError, IssueCode, ServiceError

SOCKET_FILE: Final = "control.sock"
"""Name of the socket in the state folder."""

MAX_COMMAND_BYTES: Final = 64 * 1024
"""Longest command on the control socket. [B]"""

ANSWER_TIMEOUT_S: Final = 5.0
"""Longest wait for an answer. [s]"""

CONTROL_POLL_S: Final = 0.1
"""Time between two checks whether to end. [s]"""

CONTROL_STALL_LIMIT_S: Final = 60.0
"""Longest time in which the socket accepts no command. [s]"""

CONNECTION_CLOSED_ERRORS: Final = (BrokenPipeError, ConnectionResetError, ValueError)
"""Errors when a running service closes the connection; the last is an incomplete answer."""

MAX_SOCKET_PATH_BYTES: Final = 100
"""Longest path of a socket that every system accepts. [B]"""

PEER_CREDENTIALS: Final = "iII"
"""Layout of ``struct ucred``: process, user and group."""

logger = structlog.get_logger(__name__)

type CommandHandler = Callable[[Mapping[str, object], int], Mapping[str, object]]
"""Function of a command and the uid of its sender; it returns the answer."""


class ServiceUnresponsiveError(ServiceError):
    """A running service does not answer."""


class ControlServer:
    """Answer commands on a Unix socket; a socket left by a killed service is replaced.

    ``mode`` are the permissions of the socket; by default only its owner may connect.
    A ``GigatwinError`` of the handler becomes the ``error`` of the answer. Raises ServiceError if
    the socket cannot be created, because nobody could stop such a service.

    - `thread`: the thread that accepts commands.
    """

    def __init__(self, path: Path, answer: CommandHandler, *, mode: int = 0o600) -> None:
        self._path = path
        try:
            self._server = _Server(path, answer, mode)
        except OSError as error:
            raise ServiceError.single(
                "socket",
                IssueCode.FILE_ERROR,
                str(path),
                found=str(error.strerror),
                expected="a folder where the service's user may create a socket",
                remedy="allow the service's user to write to the folder",
            ) from error
        self._ended = threading.Event()
        self.thread = self._server.thread = SupervisedThread(
            lambda: self._server.serve_forever(CONTROL_POLL_S),
            name="control",
            deadline_s=CONTROL_STALL_LIMIT_S,
            ended=self._ended,
        )

    def __enter__(self) -> Self:
        """Start to answer."""
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop answering and remove the socket."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingUnixStreamServer):
    """Listening socket."""

    daemon_threads = True
    request_queue_size = 128
    thread: SupervisedThread

    def __init__(self, path: Path, answer: CommandHandler, mode: int) -> None:
        path.unlink(missing_ok=True)
        self.answer = answer
        with _short_path(path) as name:
            super().__init__(name, _Handler, bind_and_activate=False)
            try:
                self.server_bind()
                Path(name).chmod(mode)  # before it listens
                self.server_activate()
            except OSError:
                self.server_close()
                raise

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Answer on a new thread, or on this one if no thread can be started."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # a HOLD must not fail for lack of threads
            self.process_request_thread(request, client_address)

    def service_actions(self) -> None:
        """Note between two commands that the socket is served."""
        self.thread.note_progress()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a command that failed or whose client disconnected."""
        logger.warning("command unanswered", because=str(sys.exception()))


class _Handler(socketserver.StreamRequestHandler):
    """One command and its answer."""

    timeout = ANSWER_TIMEOUT_S
    server: "_Server"

    def handle(self) -> None:
        """Read a line, execute the command, and answer."""
        try:
            line = self.rfile.readline(MAX_COMMAND_BYTES + 1)
            if not line:
                return
            answer = json.dumps(self._carry_out(line), allow_nan=False)
        except GigatwinError as error:
            answer = _refusal(str(error), error.code)
        except (OSError, ValueError, RecursionError) as error:
            answer = _refusal(f"no command: {error}")
        except Exception as error:  # a person must get an answer even to our own error
            logger.exception("internal error")
            answer = _refusal(f"{type(error).__name__}: {error}")
        self.wfile.write(answer.encode() + b"\n")

    def _carry_out(self, line: bytes) -> Mapping[str, object]:
        if len(line) > MAX_COMMAND_BYTES:
            raise ValueError(f"longer than {MAX_COMMAND_BYTES} bytes")
        command = msgspec.json.decode(line)  # commands load neither numpy nor strict_json
        content = command if isinstance(command, dict) else {}
        return {"ok": True, **self.server.answer(content, peer_uid(self.request))}


def peer_uid(connection: socket.socket) -> int:
    """Return the uid of the process at the other end of a Unix socket. [1]"""
    size = struct.calcsize(PEER_CREDENTIALS)
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack(PEER_CREDENTIALS, found)
    return int(uid)


def _refusal(error: str, code: IssueCode = IssueCode.REFUSED) -> str:
    return json.dumps({"ok": False, "error": error, "code": code.value})


@contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """Yield a path of the socket, through /proc if it is longer than the system allows."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def is_service_running(folder: Path) -> bool:
    """Return whether a service listens on a state folder, also one that answers nobody.

    Raises ServiceError if the folder is not accessible: it may hold a running service of another
    user.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
        try:
            wire.settimeout(ANSWER_TIMEOUT_S)
            with _short_path(folder / SOCKET_FILE) as place:
                wire.connect(place)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except (BlockingIOError, TimeoutError):  # too many others wait for it
            return True
        except OSError as error:
            raise ServiceError.single(
                "service",
                IssueCode.FILE_ERROR,
                str(folder),
                found=str(error.strerror),
                expected="a folder that this user may open",
                remedy="run the command as the service's user",
            ) from error
    return True


def send_command(folder: Path, name: str, **arguments: object) -> Mapping[str, object]:
    """Send a command to a service and return its answer.

    Commands are ``status``, ``hold``, ``adopt``, ``replace`` and ``release``. Raises
    ServiceUnresponsiveError if it does not answer; it may still execute the command. Raises
    ServiceError if no service runs on the folder, or it refuses; the code is the service's.
    """
    path = folder / SOCKET_FILE
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire, _short_path(path) as place:
            wire.settimeout(ANSWER_TIMEOUT_S)
            wire.connect(place)
            wire.sendall(json.dumps({"command": name, **arguments}).encode() + b"\n")
            with wire.makefile("rb") as lines:
                answer = json.loads(lines.readline())
    except (TimeoutError, BlockingIOError, *CONNECTION_CLOSED_ERRORS) as error:
        raise ServiceUnresponsiveError.single(
            "service",
            IssueCode.UNREACHABLE,
            str(folder),
            expected=f"an answer of the service within {ANSWER_TIMEOUT_S:g} s; it does not answer",
            remedy="see its log",
        ) from error
    except OSError as error:
        raise ServiceError.single(
            "service",
            IssueCode.NOT_RUNNING,
            str(folder),
            expected="a running service; no service runs on this state",
            remedy="start it with gigatwin run",
        ) from error
    if not answer.pop("ok"):
        raise ServiceError.single(
            "service",
            IssueCode(answer.get("code", IssueCode.REFUSED)),
            name,
            found="refused",
            expected=str(answer["error"]),
            remedy="correct the command",
        )
    return dict(answer)
