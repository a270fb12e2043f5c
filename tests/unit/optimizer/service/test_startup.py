"""Start of a service: a failure of optional parts does not prevent it."""

import errno
import os
import shutil
import signal
import stat

import pytest
import structlog.testing

import sites
from optimizer.service import startup
from optimizer.service.audit import AUDIT_FILE, AuditLog, read_entries
from optimizer.service.config import ServiceConfig
from optimizer.service.control_socket import send_command
from optimizer.service.hold_register import StoredHolds
from optimizer.service.operators import Requester, add_operator
from tests.support import small_days
from twin.errors import IssueCode, ServiceError


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
    monkeypatch.setattr("telemetry.durable_files.os.fsync", full)
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
            StoredHolds(tmp_path).hold(requester=PERSON, author="ana", reason="leak")
            super().start()

    monkeypatch.setattr(startup, "PageServer", Page)
    monkeypatch.setattr(startup.SiteService, "run", lambda self, _: seen.append(self.status().hold))
    startup.run_service(sites.load_site("small"), settings, tmp_path)
    assert [hold.author for hold in seen] == [ANA]
    assert [one.author for one in StoredHolds(tmp_path).in_force()] == [ANA]


def run_briefly(folder, monkeypatch, use):
    """Start a service without a broker and without its loop; `use` sees it and its folder."""
    settings = ServiceConfig(
        broker="mqtt://127.0.0.1:1", series_files=small_days.files(), page_port=None
    )
    monkeypatch.setattr(startup.SiteService, "run", lambda service, _: use(service))
    startup.run_service(sites.load_site("small"), settings, folder)


def test_group_reaches_the_service_by_a_socket_of_its_own(tmp_path, monkeypatch):
    """Proves: persons send commands under their own accounts, so that the uid is theirs."""
    shared = tmp_path / "run"
    shared.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(shared))
    seen = []

    def use(_):
        seen.append(stat.S_IMODE((shared / "control.sock").stat().st_mode))
        answer = send_command(shared, "hold", author="ana", reason="leak")
        seen.append(answer["hold"]["author"])

    run_briefly(tmp_path / "state", monkeypatch, use)
    assert seen == [0o660, f"ana, not signed in (command, uid {os.getuid()})"]


def test_only_an_operator_releases_by_command(tmp_path, monkeypatch):
    """Proves: a running service refuses a release without a token, and accepts one with it."""
    folder = tmp_path / "state"
    seen = []

    def use(service):
        held = send_command(folder, "hold", author="ana", reason="leak")
        author = str(held["hold"]["author"])
        for token in ("", "guessed"):
            with pytest.raises(ServiceError) as caught:
                send_command(folder, "release", hold=1, of=author, token=token)
            assert caught.value.code is IssueCode.UNAUTHORISED
        token = add_operator(folder, "eva")
        with pytest.raises(ServiceError, match=r"1 of ana.*leak"):
            send_command(folder, "release", hold=1, of="bo", token=token)
        changed = send_command(folder, "replace", hold=1, of=author, hours=2, token=token)
        seen.append(changed["hold"]["author"])
        seen.append(send_command(folder, "release", hold=None, token=token)["operator"])
        seen.append(service.status().hold)

    run_briefly(folder, monkeypatch, use)
    assert seen == ["eva", "eva", None]


def test_hold_written_beside_a_running_service_takes_effect(tmp_path, monkeypatch):
    """Proves: HOLD acts although the command found no service, and is not lost.

    Sensitivity: the next write of the service removed it from the file.
    """
    folder, seen = tmp_path / "state", []

    def use(service):
        StoredHolds(folder).hold(requester=PERSON, author="ana", reason="leak")
        seen.append(service.status().hold.author)
        send_command(folder, "hold")
        seen.extend(one.author for one in StoredHolds(folder).in_force())

    run_briefly(folder, monkeypatch, use)
    assert seen == [ANA, ANA, f"not signed in (command, uid {os.getuid()})"]
    events = [entry.content for entry in read_entries(folder / AUDIT_FILE)]
    assert ("hold", ANA) in [(one["event"], one.get("author")) for one in events]


def test_service_on_a_restored_state_starts_in_hold(tmp_path, monkeypatch):
    """Proves: a copy of a state without hold.json is held until an operator releases it.

    Sensitivity: the missing file counted as no HOLD; the restored site was optimised.
    """
    holds = []

    def use(service):
        holds.append([one.author for one in service.status().holds])

    run_briefly(tmp_path / "state", monkeypatch, use)
    AuditLog(tmp_path / "state" / AUDIT_FILE).add({"event": "decision"})
    shutil.copytree(tmp_path / "state", tmp_path / "restored", ignore=lambda *_: ["hold.json"])
    run_briefly(tmp_path / "restored", monkeypatch, use)
    shutil.copytree(tmp_path / "state", tmp_path / "complete")
    run_briefly(tmp_path / "complete", monkeypatch, use)
    assert holds == [[], ["gigatwin"], []]
