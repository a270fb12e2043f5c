"""Checks before a start: state folder, series files, port and broker."""

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from optimizer.cli.run import print_checks
from optimizer.service import startup
from optimizer.service.config import ServiceConfig
from optimizer.service.startup import PreflightCheck, run_preflight_checks
from optimizer.service.state_folder import StateFolder
from telemetry.feed.signing import public_jwk_set
from telemetry.messages import encode
from telemetry.messages.samples import PointValue
from telemetry.mqtt.client import Client, TlsFiles
from telemetry.points.site_points import announced_metadata
from telemetry.runtime import ClockMode
from tests.support import archives, small_days
from tests.support.feeds import key
from tests.support.waiting import DEADLINE
from twin.site_settings import ScenarioSettings
from twin.time_axes import to_utc

SMALL = sites.load_site("small")
NOW = to_utc("2026-06-16T10:00")
NOBODY = "mqtt://127.0.0.1:1"


@pytest.fixture(autouse=True)
def short_discovery(monkeypatch):
    monkeypatch.setattr(startup, "DISCOVERY_TIME_S", 1.0)


def run_checks(folder, site=SMALL, now=NOW, *, patience=1.0, **words):
    """Return name -> check, without a broker unless settings name one.

    It waits for data of a running plant for at most ``patience``. [s]
    """
    settings = ServiceConfig(
        broker=NOBODY, series_files=small_days.files(), page_port=0, clock_mode=ClockMode.SIMULATED
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(startup, "LIVE_DATA_TIMEOUT_S", patience)
        found = run_preflight_checks(site, replace(settings, **words), folder, now=now)
        return {look.subject: look for look in islice(found, None if "broker" in words else 5)}


def check_plant(folder, broker, **words):
    """Return the check of a plant that runs, however late its data are."""
    return run_checks(folder, broker=broker, patience=DEADLINE, **words)["broker and plant"]


@pytest.mark.slow
def test_checks_report_and_create_nothing(tmp_path):
    """Proves: the checks create no folder, as a first start would."""
    folder = tmp_path / "state"
    found = run_checks(folder, clock_mode=ClockMode.REAL, broker=NOBODY)
    assert found["site"].result.startswith("small: ")
    assert found["series"].result.startswith("prices until 2026-")
    assert found["state"].result == f"{folder}: none yet, the first start creates it"
    assert found["partners"].result.startswith(f"none in {folder}/keys/partners")
    assert found["page"].result == "a free port is taken"
    assert "nothing listens at this address" in found["broker and plant"].error
    assert not folder.exists()


def test_each_error_is_reported_and_stops_no_check(tmp_path):
    """Proves: invalid site name, missing and old files, folder of another site, invalid key."""
    folder = tmp_path / "state"
    with StateFolder(folder, site="rhine"):
        pass
    keys = folder / "keys" / "partners"
    keys.mkdir(parents=True)
    (keys / "gridco.json").write_text("{}")
    missing = replace(small_days.files(), prices=tmp_path / "gone.csv")
    unnamed = SMALL.model_copy(update={"name": "small#1"})
    found = run_checks(folder, unnamed, series_files=missing, clock_mode=ClockMode.REAL)
    assert "rename its file" in found["site"].error
    assert "gone.csv = no such file" in found["series"].error
    assert "name another folder with --state" in found["state"].error
    assert "gridco.json" in found["partners"].error
    late = run_checks(tmp_path, now=NOW + np.timedelta64(400, "D"), clock_mode=ClockMode.REAL)
    assert "fetch it again" in late["series"].error


def test_cleartext_to_another_machine_is_reported(tmp_path):
    """Proves: it is a fault without the flag, and stated with the flag."""
    url = "mqtt://gigatwin:secret@192.0.2.1"
    refused = run_checks(tmp_path, broker=url)
    for name in ("encryption", "broker and plant"):
        assert "--allow-cleartext" in refused[name].error
    config = ServiceConfig(
        broker=url, series_files=small_days.files(), tls=TlsFiles(allow_cleartext=True)
    )
    checks = run_preflight_checks(SMALL, config, tmp_path, now=NOW)
    found = next(one for one in checks if one.subject == "encryption")
    assert found.error == ""
    assert "not encrypted, as --allow-cleartext allows" in found.result
    assert "secret" not in found.result


def test_state_that_others_may_read_is_an_error(tmp_path):
    """Proves: the check reports why the service would refuse a release."""
    with StateFolder(tmp_path / "state", site="small") as folder:
        folder.path.chmod(0o750)
    found = run_checks(tmp_path / "state")["state"].error
    assert "mode 750" in found
    assert "chmod 700" in found


def test_kept_planner_of_an_earlier_folder_is_reported(tmp_path):
    with StateFolder(tmp_path / "state", site="small") as folder:
        (folder.path / "feed").mkdir()
    silent = SMALL.model_copy(update={"scenarios": ScenarioSettings()})
    found = run_checks(tmp_path / "state", silent)["state"]
    assert found.error == ""
    assert "write [scenarios] count = 3 into the site file" in found.result
    assert "[scenarios]" not in run_checks(tmp_path / "state")["state"].result


def test_partners_are_named(tmp_path):
    keys = tmp_path / "keys" / "partners"
    keys.mkdir(parents=True)
    (keys / "gridco.json").write_text(json.dumps(public_jwk_set(key("gridco"))))
    assert run_checks(tmp_path)["partners"].result.startswith("gridco; codes of a demonstration")


def test_occupied_port_is_an_error_unless_held_by_the_service(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "another port with --page" in run_checks(tmp_path, page_port=port)["page"].error
        monkeypatch.setattr(startup, "is_service_running", lambda _: True)
        assert "by the service that runs" in run_checks(tmp_path, page_port=port)["page"].result


def test_invalid_folder_and_port_stop_no_check(tmp_path):
    """Proves: a file in place of the folder and an invalid port are separate errors."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "state"):
        assert "not writable" in run_checks(path)["state"].error
    assert "port 70000" in run_checks(tmp_path, page_port=70_000)["page"].error


def test_check_result_is_printed_literally(capsys):
    """Sensitivity: a title in brackets was read as markup and lost."""
    assert print_checks([PreflightCheck(subject="site", result="Hall [new] of [/var/lib/x]")])
    assert "Hall [new] of [/var/lib/x]" in capsys.readouterr().out


def value_of(metadata):
    return PointValue(point=metadata.point, time=NOW, value=1.0)


@contextmanager
def publishing(url, *samples):
    """Publish samples, not retained, again and again while the block runs."""
    plant, ended = Client(url, client_id="plant"), threading.Event()
    plant.connect()

    def publish():
        while not ended.wait(0.05):
            for sample in samples:
                plant.publish(*encode(sample), qos=0)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        plant.stop()


def retain(url, *samples):
    """Publish samples that the broker retains, as a plant leaves them behind."""
    plant = Client(url, client_id="past-plant")
    plant.connect()
    tokens = [plant.publish(*encode(one), qos=1, retain=True) for one in samples]
    assert all(token.wait(DEADLINE) for token in tokens)
    plant.stop()


@pytest.mark.slow
def test_plant_that_left_only_retained_messages_is_an_error(tmp_path, embedded):
    """Proves: metadata and retained values are no running plant; a real one also sends racks.

    Sensitivity: `config check` said ok to a plant that had stopped.
    """
    silent = run_checks(tmp_path, broker=embedded.url)["broker and plant"]
    assert "[missing]" in silent.error
    assert "metadata" in silent.error
    points = list(announced_metadata(SMALL))
    retain(embedded.url, *points, value_of(points[0]))
    dead = run_checks(tmp_path, broker=embedded.url)["broker and plant"]
    assert "metadata, but 0 values and 0 racks" in dead.error
    batch = replace(archives.batch("r0001", 0), site="small")
    other = replace(value_of(points[0]), point=points[0].point.replace("/small/", "/other/"))
    with publishing(embedded.url, other, batch):
        dead = run_checks(tmp_path, broker=embedded.url)["broker and plant"]
        assert "0 values and 1 racks" in dead.error
    with publishing(embedded.url, value_of(points[1])):
        assert not check_plant(tmp_path, embedded.url).error
        real = run_checks(tmp_path, broker=embedded.url, clock_mode=ClockMode.REAL)[
            "broker and plant"
        ]
        assert "1 values and 0 racks" in real.error
    with publishing(embedded.url, value_of(points[1]), batch):
        real = check_plant(tmp_path, embedded.url, clock_mode=ClockMode.REAL)
        assert "1 of them with values, and 1 racks" in real.result


@pytest.mark.slow
def test_plant_metadata_is_compared_with_the_site_file(tmp_path, embedded):
    """Proves: points match the site file, or differences are listed."""
    points = list(announced_metadata(SMALL))
    retain(embedded.url, *points)
    with publishing(embedded.url, value_of(points[0])):
        heard = check_plant(tmp_path, embedded.url)
        assert heard.error == ""
        assert "1 of them with values, and 0 racks" in heard.result
        equipment = {name: one for name, one in SMALL.equipment.items() if name != "tank_1"}
        without = SMALL.with_equipment(equipment)
        other = check_plant(tmp_path, embedded.url, site=without).result
    assert "tank_1" in other


@pytest.mark.slow
def test_command_takes_options_of_run_and_fails_on_errors(tmp_path):
    files = small_days.files()
    words = ["config", "check", "small", "--broker", NOBODY, "--page", "0"]
    words += ["--prices", str(files.prices), "--weather", str(files.weather)]
    words += ["--state", str(tmp_path / "state")]
    words += ["--clock", "simulated"]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert "nothing listens at this address" in result.output
    assert "read at the times of the simulated plant" in result.output
    assert not (tmp_path / "state").exists()
