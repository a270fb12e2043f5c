"""The state folder: one service at a time, no newer layout, errors without tracebacks."""

import errno
import os
from pathlib import Path

import pytest

import sites
from optimizer.service.startup import record_planner, with_planner_of_folder
from optimizer.service.state_folder import (
    STATE_LAYOUT_VERSION,
    StateFolder,
    read_state_file,
    site_of_folder,
)
from telemetry.durable_files import default_state_folder, write_json_atomic
from twin.errors import JournalFullError, ServiceError
from twin.site_settings import DEFAULT_SCENARIO_COUNT, ScenarioSettings


def test_a_folder_is_made_for_its_owner_alone(tmp_path):
    with StateFolder(tmp_path / "deep" / "state") as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert read_state_file(folder.path / "schema.json") == {"version": STATE_LAYOUT_VERSION}


def test_second_service_is_refused_and_names_the_first(tmp_path):
    with StateFolder(tmp_path):
        for _ in range(2):  # a refusal keeps the name of the holder
            with pytest.raises(ServiceError, match=f"process {os.getpid()}: .*another service"):
                StateFolder(tmp_path)


def test_released_folder_can_be_used_again(tmp_path):
    for _ in range(2):
        with StateFolder(tmp_path):
            pass


def test_a_killed_service_leaves_no_lock(tmp_path):
    (tmp_path / "lock").write_text("4711\n")
    with StateFolder(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


DAMAGED = ["", "[1]", "{", "[" * 100_000, '{"a": 1}', '{"version": "x"}']


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"version": 2}', "= 2: at most version 1"),
        *((one, "the file is damaged") for one in DAMAGED),
    ],
)
def test_foreign_layout_is_refused_and_unchanged(tmp_path, content, why):
    (tmp_path / "schema.json").write_text(content)
    for _ in range(2):  # the lock is free again after the refusal
        with pytest.raises(ServiceError, match=rf"schema\.json.*{why}"):
            StateFolder(tmp_path)
    assert (tmp_path / "schema.json").read_text() == content


def test_folder_remembers_its_site(tmp_path):
    """Proves: an older folder stores its site at the next start and refuses another."""
    with StateFolder(tmp_path):
        assert site_of_folder(tmp_path) == ""
    for _ in range(2):
        with StateFolder(tmp_path, site="small"):
            assert read_state_file(tmp_path / "schema.json") == {
                "version": STATE_LAYOUT_VERSION,
                "site": "small",
            }
    with pytest.raises(ServiceError, match=r"schema\.json = small: the state of rhine"):
        StateFolder(tmp_path, site="rhine")
    with StateFolder(tmp_path):  # a folder of any site
        assert site_of_folder(tmp_path) == "small"


SILENT = sites.load_site("small").model_copy(update={"scenarios": ScenarioSettings()})
HEDGED = SILENT.model_copy(update={"scenarios": ScenarioSettings(count=5)})


def start(folder, site, **settings):
    """Return the number of scenarios of a service that starts on a folder, and the notice."""
    with StateFolder(folder, site=site.name):
        chosen, notice = with_planner_of_folder(site, folder, **settings)
        record_planner(chosen, folder)
    (folder / "feed").mkdir(exist_ok=True)  # as every service leaves it
    return chosen.scenarios.count, notice


def earlier_folder(folder):
    """Make a folder of a version that recorded no planner."""
    with StateFolder(folder, site="small"):
        (folder / "feed").mkdir()
    return folder


@pytest.mark.parametrize("is_shipped", [False, True])
def test_a_new_folder_gets_the_declared_planner_and_keeps_it(tmp_path, is_shipped):
    for _ in range(2):
        assert start(tmp_path, SILENT, is_shipped=is_shipped) == (DEFAULT_SCENARIO_COUNT, "")


def test_an_upgrade_keeps_the_planner_until_the_site_file_states_one(tmp_path):
    """Proves: an earlier folder keeps the plan for the forecast, and the notice names the line."""
    folder = earlier_folder(tmp_path)
    for _ in range(2):
        count, notice = start(folder, SILENT)
        assert count == 0
        assert "the forecast alone" in notice
        assert f"write [scenarios] count = {DEFAULT_SCENARIO_COUNT} into the site file" in notice
    assert start(folder, HEDGED) == (5, "")
    count, notice = start(folder, SILENT)  # the line was removed
    assert count == 5
    assert "5 scenarios" in notice


def test_a_stated_planner_is_kept_by_an_upgrade(tmp_path):
    assert start(earlier_folder(tmp_path), HEDGED) == (5, "")


def test_a_shipped_site_file_does_not_change_the_planner_of_a_folder(tmp_path):
    count, notice = start(earlier_folder(tmp_path), HEDGED, is_shipped=True)
    assert count == 0
    assert "count = 5 into a copy of the site file" in notice


@pytest.mark.parametrize("damaged", ["3", -1, 10**6, None, 2.5])
def test_a_damaged_record_counts_as_none(tmp_path, damaged):
    path = earlier_folder(tmp_path) / "schema.json"
    write_json_atomic(path, read_state_file(path) | {"scenario_count": damaged})
    assert start(tmp_path, SILENT)[0] == 0


def test_file_in_place_of_the_folder_is_reported(tmp_path):
    (tmp_path / "state").write_text("")
    for path in (tmp_path / "state", tmp_path / "state" / "below"):
        with pytest.raises(ServiceError, match="name another with --state"):
            StateFolder(path)


def test_read_only_folder_is_reported(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ServiceError, match=r"Permission denied.*name another with --state"):
        StateFolder(tmp_path)


def test_full_disk_is_reported_and_releases_the_lock(tmp_path, monkeypatch):
    def refuse(*_):
        message = "schema.json: no room"
        raise JournalFullError(message)

    with monkeypatch.context() as patch:
        patch.setattr("optimizer.service.state_folder.write_json_atomic", refuse)
        with pytest.raises(ServiceError, match=r"no room: .*name another"):
            StateFolder(tmp_path)
    with StateFolder(tmp_path):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 100_000])
def test_state_file_without_an_object_reads_as_empty(tmp_path, content):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    assert read_state_file(path) == {}
    assert read_state_file(tmp_path / "missing.json") == {}
    write_json_atomic(path, {"a": 1})
    assert read_state_file(path) == {"a": 1}


def test_default_folder_follows_the_system(monkeypatch):
    monkeypatch.delenv("GIGATWIN_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert default_state_folder("small") == Path("/var/state/gigatwin/small")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_state_folder("small") == Path.home() / ".local/state/gigatwin/small"
    monkeypatch.setenv("GIGATWIN_STATE", "/srv/here")
    assert default_state_folder("small") == Path("/srv/here")


def test_missing_home_requires_a_named_folder(monkeypatch):
    def fails():
        raise RuntimeError

    for name in ("GIGATWIN_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", fails)
    with pytest.raises(ServiceError, match="name the state folder with --state"):
        default_state_folder("small")
