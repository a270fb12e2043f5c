"""Start of a service: a failure of optional parts does not prevent it."""

import errno
import os
import signal

import pytest
import structlog.testing

import sites
from optimizer.service import hold, startup
from optimizer.service.config import ServiceConfig
from optimizer.service.operators import Requester
from tests.support import small_days
from twin.errors import ServiceError


@pytest.mark.parametrize("name", ["münchen", "a b", "a+b", "..", "s" * 33])
def test_invalid_site_name_is_refused_at_start(tmp_path, name):
    """Sensitivity: it ran in shadow mode, and failed with NATS or partners."""
    site = sites.load_site("small").model_copy(update={"name": name})
    with pytest.raises(ServiceError, match=r"name = .*rename its file"):
        startup.run_service(site, None, tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_full_disk_does_not_prevent_the_page(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    startup.write_page_url(tmp_path / "page.url", "http://127.0.0.1:8440/")
    assert (tmp_path / "page.url").read_text() == "http://127.0.0.1:8440/"
    monkeypatch.setattr("telemetry.files.os.fsync", full)
    with structlog.testing.capture_logs() as logged:
        startup.write_page_url(tmp_path / "page.url", "http://127.0.0.1:8441/")
    assert [entry["url"] for entry in logged] == ["http://127.0.0.1:8441/"]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_service_ends_cleanly_on_every_signal(ending):
    """Sensitivity: the end of its terminal killed it, and its requests stayed in force."""
    before = signal.signal(ending, signal.SIG_DFL)  # tests may run under nohup
    try:
        with startup.stop_on_signals() as stop:
            os.kill(os.getpid(), ending)
            assert stop.is_set()
    finally:
        signal.signal(ending, before)


def test_nohup_service_survives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with startup.stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


PERSON = Requester(channel="command", uid=1007)
ANA = "ana, not signed in (command, uid 1007)"


def test_hold_placed_during_start_is_in_force(tmp_path, monkeypatch):
    """Proves: a HOLD placed before the service listens takes effect in it, as reported.

    Sensitivity: the HOLD on disk was not read, and the next one overwrote it.
    """
    settings = ServiceConfig(
        broker="mqtt://127.0.0.1:1", series_files=small_days.files(), page_port=0
    )
    seen = []

    class Page(startup.PageServer):
        def start(self):
            hold.place_offline(tmp_path, requester=PERSON, author="ana", reason="leak")
            super().start()

    monkeypatch.setattr(startup, "PageServer", Page)
    monkeypatch.setattr(
        startup.SiteService, "run", lambda self, _: seen.append(self.snapshot()["hold"])
    )
    startup.run_service(sites.load_site("small"), settings, tmp_path)
    assert [hold["author"] for hold in seen] == [ANA]
    assert [one.author for one in hold.read_offline(tmp_path)] == [ANA]
