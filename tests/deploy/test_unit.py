"""The systemd unit, and what it is told."""

import re
import shutil
import subprocess

import pytest
from typer.main import get_command

from optimizer.cli.run import app
from tests.conftest import ROOT

UNIT = ROOT / "deploy" / "systemd" / "gigatwin@.service"
EXAMPLE = ROOT / "deploy" / "gigatwin.env.example"
EXPOSURE = 12  # tenths


def test_the_unit_is_hardened():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; on Debian: apt-get install systemd")
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", UNIT]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-300:] + found.stderr


def test_the_example_names_all_that_a_service_takes_from_the_environment_and_nothing_else():
    named = set(re.findall(r"^#?(GIGATWIN_\w+)=", EXAMPLE.read_text(), re.MULTILINE))
    options = get_command(app).params
    taken = {option.envvar for option in options if option.envvar}
    assert named == taken | {"GIGATWIN_OPTIONS"}
    assert "$GIGATWIN_OPTIONS" in UNIT.read_text()
