import socket

import pytest
from structlog.testing import capture_logs

from optimizer.service.watchdog import NOTIFY_SOCKET_VARIABLE, notify_systemd


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_receives_the_state(kind, tmp_path, monkeypatch):
    name = str(tmp_path / "notify") if kind == "path" else f"@gigatwin-{tmp_path.name}"
    monkeypatch.setenv(NOTIFY_SOCKET_VARIABLE, name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1))
        systemd.settimeout(60.0)
        notify_systemd("READY=1\nSTATUS=planning")
        assert systemd.recv(100) == b"READY=1\nSTATUS=planning"


def test_without_systemd_nothing_happens(monkeypatch):
    monkeypatch.delenv(NOTIFY_SOCKET_VARIABLE, raising=False)
    with capture_logs() as logs:
        notify_systemd("READY=1")
    assert not logs


def test_missing_systemd_socket_raises_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv(NOTIFY_SOCKET_VARIABLE, str(tmp_path / "gone"))
    with capture_logs() as logs:
        notify_systemd("WATCHDOG=1")
    assert logs[0]["event"] == "systemd not notified"
