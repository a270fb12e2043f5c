"""The simulated plant on the Mosquitto of ``deploy/``, by certificate alone."""

import pytest
from typer.testing import CliRunner

from optimizer.cli import plant
from tests.deploy import stands

pytestmark = pytest.mark.slow


def test_simulated_plant_connects_with_its_certificate(tmp_path, certificates):
    """Proves: a plant can be tried on the broker that the service is to use.

    Sensitivity: it had no options for certificates, and such a broker hung up.
    """
    stand = stands.mosquitto(tmp_path, certificates)
    stand.broker.start()
    files = {"ca": "ca.crt", "certificate": "plant-small.crt", "key": "plant-small.key"}
    options = [f"--{option}={certificates / name}" for option, name in files.items()]
    try:
        words = ["small", "--broker", stand.url, "--steps", "1", "--deadline", "0.1", *options]
        done = CliRunner().invoke(plant.app, words)
    finally:
        stand.close()
    assert done.exit_code == 0, done.output
