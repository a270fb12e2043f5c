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
EXPOSURE = 12  # tenths
OTHERS = 256  # of the service, its solver and its page


def test_unit_is_hardened():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; on Debian: apt-get install systemd")
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", UNIT]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-300:] + found.stderr


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


def test_example_lists_exactly_the_service_environment():
    named = set(re.findall(r"^#?(GIGATWIN_\w+)=", EXAMPLE.read_text(), re.MULTILINE))
    options = get_command(app).params
    taken = {option.envvar for option in options if option.envvar}
    variables = set(re.findall(r"\$(GIGATWIN_\w+)", UNIT.read_text() + FETCH.read_text()))
    tokens = {one.token for known in DATA_SERVICES.values() for one in known.values() if one.token}
    assert variables == {
        "GIGATWIN_OPTIONS",
        *(f"GIGATWIN_FETCH_{what.upper()}" for what in DATA_SERVICES),
    }
    assert named == taken | variables | tokens


def test_fetched_files_are_those_the_service_reads():
    """Proves: the files of the example are those that the unit of the same site writes."""
    (folder,) = set(re.findall(r"--out (\S+)/\w+ ", FETCH.read_text()))
    paths = dict(re.findall(r"^#?GIGATWIN_(\w+)=(/\S+)$", EXAMPLE.read_text(), re.MULTILINE))
    for what in DATA_SERVICES:
        assert paths[what.upper()] == f"{folder.replace('%i', 'small')}/{what}"
        assert f"gigatwin fetch %i {what} --out {folder}/{what} " in FETCH.read_text()
    assert f"StateDirectory={folder.removeprefix('/var/lib/')}" in FETCH.read_text()
