"""Heartbeats are independent of partners; systemd gets none while a thread does not work."""

import socket
import threading
import time
from unittest.mock import MagicMock

import pytest

from optimizer.service.control_socket import ControlServer
from optimizer.service.watchdog import NOTIFY_SOCKET_VARIABLE, Watchdog, periodic_thread
from telemetry.runtime import SupervisedThread
from tests.support import ingesting
from tests.support.service_bench import Bench
from tests.support.waiting import DEADLINE, until


@pytest.fixture
def stop():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    monkeypatch.setenv(NOTIFY_SOCKET_VARIABLE, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(path)
        yield listener


def received(systemd):
    try:
        return systemd.recv(100)
    except BlockingIOError:
        return b""


def beat_once(threads):
    """Return the heartbeats to the plant of one update."""
    beats = []
    watchdog = Watchdog(lambda: beats.append(1), time.monotonic)
    watchdog.supervise(*threads)
    watchdog.send_heartbeat_if_due()
    return len(beats)


def hung(stop):
    thread = SupervisedThread(stop.wait, name="archiver", deadline_s=-1.0, ended=stop)
    thread.start()
    return thread


def dead(stop):
    thread = SupervisedThread(lambda: None, name="archiver", deadline_s=DEADLINE, ended=stop)
    thread.start()
    thread.join(DEADLINE)
    return thread


def working(stop):
    thread = periodic_thread("archiver", stop)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("make", "sent"),
    [(working, b"WATCHDOG=1"), (dead, b""), (hung, b"")],
    ids=["working", "dead", "hung"],
)
def test_systemd_gets_no_heartbeat_without_an_essential_thread(stop, systemd, make, sent):
    """Proves: the plant gets its heartbeat in each case, and systemd restarts the service."""
    assert beat_once([make(stop)]) == 1
    assert received(systemd) == sent


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("part", "name", "thread"), [("archive", "maintain", "archiver"), ("wire", "poll", "ingester")]
)
def test_dead_ingester_or_archiver_stops_the_watchdog(
    tmp_path, monkeypatch, systemd, part, name, thread
):
    def fail(*_, **__):
        raise RuntimeError(name)

    service = ingesting.Service(tmp_path)
    monkeypatch.setattr(getattr(service, part), name, fail)
    with service:
        threads = service.ingester.threads
        assert {one.name for one in threads} == {"ingester", "archiver"}
        until(lambda: any(one.failure for one in threads))
        assert [one.name for one in threads if one.failure] == [thread]
        beat_once(threads)
        assert received(systemd) == b""


def test_working_ingester_and_archiver_keep_the_watchdog(tmp_path, systemd):
    with ingesting.Service(tmp_path) as service:
        beat_once(service.ingester.threads)
        assert received(systemd) == b"WATCHDOG=1"


def test_thread_of_the_control_socket_is_supervised(tmp_path):
    with ControlServer(tmp_path / "control.sock", lambda _: {}) as server:
        assert server.thread.failure == ""
        server._server.shutdown()
        until(lambda: "the control thread ended by itself" in server.thread.failure)
    assert server.thread.failure == ""


def test_slow_partners_delay_neither_heartbeats_nor_alarms(tmp_path, monkeypatch, stop):
    """Proves: while the work on partners' messages does not end, other tasks go on.

    Sensitivity: 1,000 load targets took 25 s on the thread that sends the heartbeats.
    """
    bench, begun, finish = Bench(tmp_path, is_shadow=False), threading.Event(), threading.Event()
    bench.service._start_solver = MagicMock()
    beats, alarms = threading.Event(), threading.Event()

    def work_on_messages(_):
        begun.set()
        finish.wait(DEADLINE)
        return False

    monkeypatch.setattr(bench.service._partners, "poll", work_on_messages)
    bench.link.send_heartbeat.side_effect = lambda _: begun.wait(DEADLINE) and beats.set()
    bench.link.drift_monitor.update = lambda _: begun.is_set() and alarms.set()
    bench.service._clock.intervals.return_value = []
    run = threading.Thread(target=bench.service.run, args=(stop,), daemon=True)
    run.start()
    try:
        assert begun.wait(DEADLINE)
        assert beats.wait(DEADLINE / 2)
        assert alarms.wait(DEADLINE / 2)
        assert not finish.is_set()
    finally:
        finish.set()
        stop.set()
        run.join(DEADLINE)
