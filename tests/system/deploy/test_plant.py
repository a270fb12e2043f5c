"""The simulated plant on the Mosquitto of ``deploy/``, with a certificate."""

import pytest
from typer.testing import CliRunner

from optimizer.cli import plant
from tests.system.deploy import stands

pytestmark = pytest.mark.slow


def test_simulated_plant_connects_with_its_certificate(tmp_path, certificates):
    """Proves: a plant can be tested on the broker of the service.

    Sensitivity: without certificate options, such a broker refused it.
    """
    stand = stands.mosquitto(tmp_path, certificates)
    stand.broker.start()
    files = {"ca": "ca.crt", "certificate": "plant-small.crt", "key": "plant-small.key"}
    options = [f"--{option}={certificates / name}" for option, name in files.items()]
    try:
        arguments = ["small", "--broker", stand.url, "--steps", "1", "--deadline", "0.1", *options]
        done = CliRunner().invoke(plant.app, arguments)
    finally:
        stand.close()
    assert done.exit_code == 0, done.output
