"""The documented agents on the brokers of ``deploy/``, started as users do."""

import os
import subprocess
import sys

import pytest

from telemetry.messages import decode
from tests.conftest import ROOT
from tests.support.waiting import DEADLINE, until

pytestmark = pytest.mark.slow

PLACE = ("small", "hall_1", "r0001")
SMI = "#!/bin/sh\necho '312.5, 41, 87, 60000, 80000, 1980'\n"


@pytest.fixture
def path(tmp_path):
    """Return a PATH with a tool that reports accelerators."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(SMI)
    smi.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


@pytest.mark.parametrize("name", ["node_agent", "lossless_agent"])
def test_documented_agent_connects_with_its_certificate(stand, tmp_path, path, name):
    client = stand.connected("gigatwin-small")
    assert client.subscribe(f"dc/v1/{'/'.join(PLACE)}/tele").wait(DEADLINE)
    files = ["ca.crt", "nodes-small-hall_1.crt", "nodes-small-hall_1.key"]
    arguments = ["127.0.0.1", str(stand.broker.port), *PLACE]
    arguments += [str(tmp_path / "held")] * (name == "lossless_agent")
    arguments += [str(stand.certificates / file) for file in files]
    command = [sys.executable, str(ROOT / "docs" / "examples" / f"{name}.py"), *arguments]
    agent = subprocess.Popen(command, env=os.environ | {"PATH": path})
    try:
        messages = until(client.poll)
    finally:
        agent.kill()
        agent.wait()
    batch = decode(messages[0].topic, messages[0].payload)
    assert batch.values[0].tolist() == [312.5]
    assert (batch.hall, batch.rack) == PLACE[1:]
