"""The systemd unit and its environment file."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import icechunk
import pytest
from typer.main import get_command

from optimizer.cli.run import app
from telemetry.series.providers import DATA_SERVICES
from tests.conftest import ROOT

UNIT = ROOT / "deploy" / "systemd" / "gigatwin@.service"
FETCH = UNIT.with_name("gigatwin-fetch@.service")
EXAMPLE = ROOT / "deploy" / "gigatwin.env.example"
FETCH_EXAMPLE = EXAMPLE.with_name("gigatwin-fetch.env.example")
EXPOSURE = 12  # tenths
OTHERS = 256  # of the service, its solver and its page


@pytest.mark.parametrize("unit", [UNIT, FETCH], ids=["service", "fetch"])
def test_units_are_hardened(unit):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; on Debian: apt-get install systemd")
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", unit]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-300:] + found.stderr


def test_commands_come_from_the_accounts_of_persons():
    """Proves: operators reach the service without its account, and it sees their uids.

    Sensitivity: everybody used `sudo -u gigatwin`; with PrivateUsers all uids are 65534.
    """
    unit = UNIT.read_text()
    assert "RuntimeDirectory=gigatwin/%i\nRuntimeDirectoryMode=0750\n" in unit
    assert "PrivateUsers=" not in unit


def test_unit_allows_the_threads_of_the_archive(tmp_path):
    """Proves: while old files are deleted hourly, solver, page and HOLD still get threads."""
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path)))
    (tmp_path / "chunks").mkdir()
    for number in range(1500):  # more than Icechunk has threads; names are in base 32
        (tmp_path / "chunks" / f"{number:019d}0").touch()
    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(repository.garbage_collect, datetime.now(UTC))
        most = threads()
        while not deleting.done():
            most = max(most, threads())
    assert not list((tmp_path / "chunks").iterdir())
    (limit,) = re.findall(r"^TasksMax=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert most + OTHERS < int(limit)


def threads():
    """Return how many threads this process has."""
    return len(list(Path("/proc/self/task").iterdir()))


def environment(example):
    return set(re.findall(r"^#?(GIGATWIN_\w+)=", example.read_text(), re.MULTILINE))


def variables(unit):
    return set(re.findall(r"\$(GIGATWIN_\w+)", unit.read_text()))


def settings(unit):
    """Return the values of each setting of a unit."""
    found = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_example_lists_exactly_the_service_environment():
    taken = {option.envvar for option in get_command(app).params if option.envvar}
    assert variables(UNIT) == {"GIGATWIN_OPTIONS"}
    assert environment(EXAMPLE) == taken | variables(UNIT)


def test_example_lists_exactly_the_fetch_environment():
    tokens = {
        one.token_variable
        for known in DATA_SERVICES.values()
        for one in known.values()
        if one.token_variable
    }
    assert variables(FETCH) == {f"GIGATWIN_FETCH_{what.upper()}" for what in DATA_SERVICES}
    assert environment(FETCH_EXAMPLE) == variables(FETCH) | tokens


def test_fetch_cannot_reach_state_and_settings_of_the_service():
    """Proves: it has another user, another environment file, and no access to the state folder."""
    service, fetch = settings(UNIT), settings(FETCH)
    for name in ("User", "Group", "EnvironmentFile", "StateDirectory"):
        assert len(fetch[name]) == 1
        assert fetch[name] != service[name]
    (home,) = {Path("/var/lib", folder).parent for folder in service["StateDirectory"]}
    assert fetch["InaccessiblePaths"] == [f"-{home}"]
    assert service["StateDirectoryMode"] == ["0700"]
    secret = {"GIGATWIN_BROKER", "GIGATWIN_KEY", "GIGATWIN_STATE"}
    assert not secret & environment(FETCH_EXAMPLE)


def test_service_can_read_fetched_files_and_not_write_them():
    service, fetch = settings(UNIT), settings(FETCH)
    assert (fetch["UMask"], fetch["StateDirectoryMode"]) == (["0022"], ["0755"])
    assert service["ProtectSystem"] == ["strict"]
    assert not service.keys() & {"ReadWritePaths", "BindPaths"}


def test_fetch_has_each_restriction_of_the_service():
    """Proves: it differs in its addresses only, as it asks servers on the internet."""
    service, fetch = settings(UNIT), settings(FETCH)
    restricted = {
        name
        for name in service
        if name.startswith(
            ("Protect", "Private", "Restrict", "SystemCall", "Capability", "Ambient")
        )
    } | {"NoNewPrivileges", "MemoryDenyWriteExecute", "LockPersonality", "DevicePolicy"}
    assert len(restricted) > 20
    assert {name: fetch.get(name) for name in restricted} == {
        name: service[name] for name in restricted
    }


def test_fetched_files_are_those_the_service_reads():
    """Proves: the files of the example are those that the unit of the same site writes."""
    (folder,) = set(re.findall(r"--out (\S+)/\w+ ", FETCH.read_text()))
    paths = dict(re.findall(r"^#?GIGATWIN_(\w+)=(/\S+)$", EXAMPLE.read_text(), re.MULTILINE))
    for what in DATA_SERVICES:
        assert paths[what.upper()] == f"{folder.replace('%i', 'small')}/{what}"
        assert f"gigatwin fetch %i {what} --out {folder}/{what} " in FETCH.read_text()
    assert f"StateDirectory={folder.removeprefix('/var/lib/')}" in FETCH.read_text()
