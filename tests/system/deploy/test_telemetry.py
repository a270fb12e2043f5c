"""The commands of the pages on telemetry on the brokers of ``deploy/``, with certificates."""

import json

import pytest
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from telemetry.messages import encode
from telemetry.points.site_points import announced_metadata
from tests.support.waiting import DEADLINE
from tests.system.deploy import stands

pytestmark = pytest.mark.slow

SMALL = sites.load_site("small")
PATIENT = ("3", "10", "60")  # seconds: a slow broker needs longer for what it has retained


@pytest.fixture(params=["mosquitto", "nats"])
def stand(request, tmp_path, certificates):
    """Return a running broker of ``deploy/`` with the metadata of the site."""
    running = getattr(stands, request.param)(tmp_path, certificates)
    running.broker.start()
    plant = running.connected("plant-small" if request.param == "mosquitto" else "bms-small")
    receipts = [
        plant.publish(*encode(one), qos=1, retain=True) for one in announced_metadata(SMALL)
    ]
    assert all(receipt.wait(DEADLINE) for receipt in receipts)
    yield running
    running.close()


def run_command(stand, *arguments):
    files = {"ca": "ca.crt", "certificate": "gigatwin-small.crt", "key": "gigatwin-small.key"}
    options = [f"--{option}={stand.certificates / name}" for option, name in files.items()]
    found = CliRunner().invoke(
        app, ["telemetry", *arguments, "--broker", stand.url, *options, "--json", "-"]
    )
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout[found.stdout.index("{\n") :])


def test_only_permitted_users_can_draft_a_site(stand, tmp_path):
    count = len(list(announced_metadata(SMALL)))
    for seconds in PATIENT:
        arguments = ["--seconds", seconds, "--out", str(tmp_path / f"{seconds}.toml")]
        if (found := run_command(stand, "discover", "small", *arguments))["points"] >= count:
            break
    assert found["points"] == count


def test_site_is_recorded_by_halls_and_types(stand, tmp_path):
    count = len(list(announced_metadata(SMALL)))
    for seconds in PATIENT:
        arguments = ["--hall", "hall_1", "--hall", "hall_2", "--type", "Rack", "--seconds", seconds]
        arguments += ["--state", str(tmp_path / seconds)]
        if (found := run_command(stand, "record", "small", *arguments))["messages"] >= count:
            break
    assert found["messages"] >= count
