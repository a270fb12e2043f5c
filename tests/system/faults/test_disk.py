"""The disk of the state folder fills up, and space is freed again."""

import os
import subprocess

import pytest

from tests.support.service_processes import Stage
from tests.system.faults.conftest import listening
from tests.system.faults.words import schedules

pytestmark = pytest.mark.slow

SIZE = "4m"
STEPS = 1000
"""Quarter-hours: more than any machine decides meanwhile. [1]"""


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of a few megabytes."""
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid():
        pytest.skip("only root may mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False, text=True)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path):
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def acknowledged(stage):
    return stage.tell("status")["snapshot"]["telemetry"]["connection"]["acknowledged"]


def acknowledges_nothing(stage, ear):
    """Return whether nothing was acknowledged while the plant went on."""
    before, since = acknowledged(stage), ear.now()
    ear.until(lambda: _steps(ear, since) > 3)
    return acknowledged(stage) == before


def test_service_recovers_from_a_full_disk(tmp_path, small_disk, embedded):
    with Stage(tmp_path, embedded.url) as stage, listening(stage.broker) as ear:
        stage.serve("--page", "0")
        stage.attend()
        stage.play(STEPS)
        stage.until_ready()
        ballast = small_disk / "ballast"
        fill(ballast)
        stage.until(lambda: any("free space" in text for text in stage.missing()))
        stage.until(lambda: acknowledges_nothing(stage, ear))  # earlier ones may be in flight
        before = acknowledged(stage)
        assert any("free space" in a["remedy"] + a["text"] for a in _alarms(stage))
        ballast.unlink()
        emptied = ear.now()
        ear.until(lambda: schedules(ear, emptied, "optimum"))
        stage.until(lambda: not stage.missing())
        assert acknowledged(stage) > before
        assert stage.finish()["violations"] == {}
        stage.service.terminate()
        assert stage.service.exit_code == 0
        assert not list(small_disk.rglob("*.draft"))


def _alarms(stage):
    return stage.tell("status")["snapshot"]["alarms"]


def _steps(ear, since):
    return sum("/clock" in one.topic for one in ear.heard if one.at > since)
