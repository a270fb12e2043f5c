"""The documented agents on the brokers of ``deploy/``, as processes: which orders they obey."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

from telemetry.feed.signing import generate_key, public_jwk_set, sign_order
from telemetry.messages import encode
from telemetry.messages.samples import CapOrder, JobOrders
from tests.conftest import ROOT
from tests.support import fake_slurm
from tests.support.waiting import DEADLINE, until

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "docs" / "examples"
SITE_KEY, NEXT_KEY, FOREIGN_KEY = generate_key(), generate_key(), generate_key()
HALF_HOUR, NOTHING = np.timedelta64(30, "m"), np.timedelta64(0, "m")


class AgentOnBroker:
    """An agent that has its hall's or cluster's certificate, and the service that orders."""

    def __init__(self, stand, folder, topic, *, user, client_id):
        self.keys, self.topic = folder / "feed.jwks.json", topic
        self._folder, self._stand, self._user = folder, stand, user
        self._service = stand.connected("gigatwin-small")
        assert self._service.subscribe(f"{topic}/status").wait(DEADLINE)
        session = stand.connected(user, client_id=client_id)  # so that no order is too early
        assert session.subscribe(f"{topic}/set").wait(DEADLINE)
        session.stop()
        self.keys.write_text(json.dumps(public_jwk_set(SITE_KEY)))
        self._sequence = time.time_ns() // 1_000_000

    def script(self, name, words):
        """Write a program that the agent calls."""
        (self._folder / name).write_text(f"#!/bin/sh\n{words}\n")
        (self._folder / name).chmod(0o755)
        return str(self._folder / name)

    @contextmanager
    def running(self, program, *words):
        """Run the agent with its certificate."""
        names = ("ca.crt", f"{self._user}.crt", f"{self._user}.key")
        files = [self._stand.certificates / name for name in names]
        command = [sys.executable, EXAMPLES / program, "--broker", self._stand.url, "--tls", *files]
        command += ["--site", "small", "--state", self._folder / "agent.json", "--period", "0.2"]
        path = f"{self._folder}:{os.environ['PATH']}"
        with (self._folder / "log").open("wb") as log:
            agent = subprocess.Popen(
                [*command, "--keys", self.keys, *words],
                env=os.environ | {"PATH": path},
                stdout=log,
                stderr=log,
            )
            try:
                yield
                assert agent.poll() is None, self.log()
            finally:
                agent.kill()
                agent.wait()

    def log(self):
        return (self._folder / "log").read_text()

    def order(self, kind, *, key=SITE_KEY, age=NOTHING, **fields):
        """Return a signed order, issued some time ago, with the next sequence."""
        self._sequence += 1
        issued = np.datetime64(time.time_ns() // 1000, "us") - age
        times = {"sequence": self._sequence, "issued": issued, "expires": issued + HALF_HOUR}
        topic, payload = encode(kind(site="small", **times, **fields))
        return sign_order(topic, payload, key)

    def answer(self, payload):
        """Send an order, and return the code of the agent's status, or None if it is applied."""
        assert self._service.publish(f"{self.topic}/set", payload, qos=1).wait(DEADLINE)
        status = until(self._status, what=self.log)
        return None if status["applied"] else status["code"]

    def _status(self):
        messages = self._service.poll(timeout=0.2)
        self._service.acknowledge(messages)
        return json.loads(messages[0].payload) if messages else None


def forged(payload, **fields):
    """Return an order with other plain fields beside the signature."""
    return json.dumps(json.loads(payload) | fields).encode()


def test_hall_agent_refuses_what_the_service_did_not_order(stand, tmp_path):
    """Proves: write access to the topic is not enough; only fresh orders of the site cap a hall.

    Sensitivity: the agent obeyed plain fields, which any client with the right to write can set.
    """
    agent = AgentOnBroker(
        stand,
        tmp_path,
        "dc/v1/small/hall_1/cap",
        user="nodes-small-hall_1",
        client_id="caps-small-hall_1",
    )
    program = agent.script("cap-racks", f'echo "$1" >> "{tmp_path}/caps"')
    cap = {"hall": "hall_1", "power_cap": 2.0}
    options = ["--hall", "hall_1", "--racks", "10", "--idle-mw", "1", "--default-mw", "3"]
    with agent.running("cap_agent.py", *options, "--program", program):
        first = agent.order(CapOrder, **cap)
        assert agent.answer(first) is None
        for payload, code in [
            (first, "replayed"),
            (agent.order(CapOrder, key=FOREIGN_KEY, **cap), "invalid-signature"),
            (forged(agent.order(CapOrder, **cap), signed=""), "missing"),
            (agent.order(CapOrder, age=HALF_HOUR * 2, **cap), "expired"),
            (agent.order(CapOrder, **cap | {"hall": "hall_2"}), "inconsistent"),
        ]:
            assert agent.answer(payload) == code
        lower = agent.order(CapOrder, **cap | {"power_cap": 1.5})
        assert agent.answer(forged(lower, power_cap_mw=9.0)) is None  # its signed content counts
        assert agent.answer(agent.order(CapOrder, key=NEXT_KEY, **cap)) == "invalid-signature"
        agent.keys.write_text(json.dumps(public_jwk_set(SITE_KEY, NEXT_KEY)))
        for key in (SITE_KEY, NEXT_KEY):  # while the key changes, both count
            assert agent.answer(agent.order(CapOrder, key=key, **cap)) is None
    assert (tmp_path / "caps").read_text().split()[-3:] == ["200.0", "150.0", "200.0"]


def test_scheduler_agent_refuses_what_the_service_did_not_order(stand, tmp_path):
    """Proves: only a fresh order of the site starts a job.

    Sensitivity: the agent started the job by the plain fields of a forged order.
    """
    user, slurm = "cluster-small", tmp_path / "slurm.json"
    agent = AgentOnBroker(stand, tmp_path, "dc/v1/small/jobs", user=user, client_id=user)
    fake_slurm.make(slurm, [fake_slurm.job(11, "training"), fake_slurm.job(12, "training")])
    for name in ("squeue", "scontrol"):
        agent.script(name, f'"{sys.executable}" "{fake_slurm.__file__}" "{slurm}" {name} "$@"')

    def started():
        return {job["job_id"] for job in json.loads(slurm.read_text())["jobs"] if not job["hold"]}

    with agent.running("scheduler_agent.py"):
        first = agent.order(JobOrders, caps={11: 1.0})
        assert agent.answer(first) is None
        until(lambda: started() == {11}, what=agent.log)
        both = {"caps": {11: 1.0, 12: 1.0}}
        for payload, code in [
            (first, "replayed"),
            (agent.order(JobOrders, key=FOREIGN_KEY, **both), "invalid-signature"),
            (forged(agent.order(JobOrders, **both), signed=""), "missing"),
            (agent.order(JobOrders, age=HALF_HOUR * 2, **both), "expired"),
        ]:
            assert agent.answer(payload) == code
        assert started() == {11}
        assert agent.answer(agent.order(JobOrders, **both)) is None
        until(lambda: started() == {11, 12}, what=agent.log)
