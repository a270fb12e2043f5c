"""The agent of the docs for Slurm beside a clock that was ahead and is set back."""

import importlib
from pathlib import Path

import numpy as np

from telemetry.messages import decode

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NOON = 1_795_852_800.0
JOB = {"number": 7, "kind": "batch", "name": "7", "held_as": "7", "start": 0, "hours": 1.0}
JOB |= {"racks": 1.0, "nodes": "r1", "depends": False, "is_held": True, "is_free": False}


def test_jobs_from_clock_ahead_have_arrived(tmp_path, monkeypatch):
    """Proves: queue and history go on at once where the clock is set back.

    Sensitivity: the service refused all of them until the clock had caught up with one job.
    """
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = importlib.import_module("scheduler_agent")
    live = [JOB | {"submitted": NOON + 7200.0}]
    monkeypatch.setattr(module.cluster, "jobs", lambda: iter(live))
    agent = module.Agent("small", tmp_path / "agent.json")
    agent.look(NOON + 7260.0)
    agent.look(NOON)
    for name, text in agent.lists(NOON).items():
        message = decode(f"dc/v1/small/jobs/{name}", text)
        assert message.jobs.arrival.tolist() == [np.datetime64("2026-11-28T08:00:00", "us").item()]
