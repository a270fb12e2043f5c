"""How a service starts: what is only convenient keeps nobody from starting."""

import errno

import structlog.testing

from optimizer.service import start


def test_a_full_disk_keeps_no_service_from_its_page(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    start.note_page(tmp_path / "page.url", "http://127.0.0.1:8440/")
    assert (tmp_path / "page.url").read_text() == "http://127.0.0.1:8440/"
    monkeypatch.setattr("telemetry.durable.os.fsync", full)
    with structlog.testing.capture_logs() as logged:
        start.note_page(tmp_path / "page.url", "http://127.0.0.1:8441/")
    assert [entry["url"] for entry in logged] == ["http://127.0.0.1:8441/"]
