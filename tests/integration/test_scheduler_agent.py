"""The example agent for Slurm: its messages are accepted, and it carries out orders."""

import importlib
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import sites
from telemetry.commands import COMMAND_VALIDITY, PlantCommands
from telemetry.live.state import LiveState
from telemetry.messages import decode, encode
from telemetry.messages.samples import (
    JobAnnouncements,
    JobHistory,
    JobOrders,
    JobStatus,
    QueueSnapshot,
)
from telemetry.mqtt.queues import MAX_PAYLOAD_BYTES
from tests.support import fake_slurm
from tests.support.ordering import making
from tests.support.waiting import DEADLINE, until

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SECOND = np.timedelta64(1, "s")
TASK = (2 + 1 << 32) + 13  # the last of the array 13
NOON = 1_795_852_800.0


def now():
    return np.datetime64(time.time_ns() // 1000, "us")


class Cluster:
    """A stand-in of a Slurm cluster, and a client of its agent."""

    def __init__(self, folder, broker, client):
        self.file, self._folder, self._broker = folder / "slurm.json", folder, broker
        self._client, self.samples, self.window = client, [], LiveState(sites.load_site("small"))
        for program in ("squeue", "scontrol", "cap"):
            words = f'"{sys.executable}" "{fake_slurm.__file__}" "{self.file}" {program} "$@"'
            words = f'echo "$@" >> "{folder}/caps"' if program == "cap" else words
            (folder / program).write_text(f"#!/bin/sh\n{words}\n")
            (folder / program).chmod(0o755)

    @contextmanager
    def agent(self):
        """Run the agent."""
        path = os.pathsep.join((str(self._folder), os.environ["PATH"]))
        words = ["--broker", self._broker.url, "--site", "small", "--period", "0.1", "--unsigned"]
        words += ["--state", str(self._folder / "agent.json")]
        with (self._folder / "agent.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, EXAMPLES / "scheduler_agent.py", *words],
                env={**os.environ, "PATH": path, "CAP_PROGRAM": str(self._folder / "cap")},
                stdout=log,
                stderr=log,
            )
            try:
                yield
                assert process.poll() is None, (self._folder / "agent.log").read_text()
            finally:
                process.kill()
                process.wait(DEADLINE)

    def receive(self):
        """Handle received messages, as the service does."""
        messages = self._client.poll()
        for message in messages:
            sample = decode(message.topic, message.payload)
            self.samples.append(sample)
            self.window.add(sample)
        self._client.acknowledge(messages)

    def running(self):
        """Return the numbers of the running jobs in the last queue."""
        self.receive()
        queue = self.window.scheduler.queue
        return None if queue is None else set(queue.jobs.number[queue.running].tolist())

    def status(self, sequence):
        """Return the status of orders, once it is received."""

        def received():
            self.receive()
            last = self.window.job_status
            return last if last is not None and last.sequence == sequence else None

        return until(received)

    def order(self, *, ago=0.0, sequence=None, **jobs):
        """Publish orders, and return their status."""
        issued = now() - np.timedelta64(round(ago * 1e6), "us")
        orders = JobOrders(
            site="small",
            sequence=time.time_ns() // 1_000_000 if sequence is None else sequence,
            issued=issued,
            expires=issued + COMMAND_VALIDITY,
            caps={int(name[1:]): cap for name, cap in jobs.items()},
        )
        topic, payload = encode(orders)
        self.window.job_status = None
        self._client.publish(topic, payload, qos=1)
        return self.status(orders.sequence)

    def caps(self):
        """Return the arguments of the program that caps nodes."""
        path = self._folder / "caps"
        return path.read_text() if path.exists() else ""

    def expire(self):
        """Make the stored orders of the agent expire; it must not run."""
        path = self._folder / "agent.json"
        kept = json.loads(path.read_text())
        kept["orders"]["expires"] = 0
        path.write_text(json.dumps(kept))

    def state(self):
        with fake_slurm.cluster(self.file) as state:
            return state


@pytest.fixture
def cluster(tmp_path, mosquitto, connected):
    cluster = Cluster(
        tmp_path,
        mosquitto,
        connected(
            mosquitto.url,
            *(f"dc/v1/small/jobs/{w}" for w in ("queue", "history", "announced", "status")),
        ),
    )
    array = {"array_job_id": fake_slurm.number(13), "array_task_string": "0-2"}
    jobs = [
        fake_slurm.job(11, "training"),
        fake_slurm.job(12, "batch", nodes=36),
        fake_slurm.job(13, "batch", nodes=9, **array),
        fake_slurm.job(14, "batch", dependency="afterok:11(unfulfilled)"),
        fake_slurm.job(15, "interactive"),
    ]
    fake_slurm.make(cluster.file, jobs)
    return cluster


@pytest.mark.slow
def test_agent_carries_out_orders(cluster, connected, mosquitto, tmp_path):
    """Proves: jobs are reported, started, capped and paused; dependent jobs have not arrived.

    Sensitivity: jobs without orders would run on, and array tasks have no numbers.
    """
    actuator = making(connected(mosquitto.url), tmp_path)()
    with cluster.agent():
        until(lambda: cluster.running() == set())
        jobs = cluster.window.scheduler.queue.jobs
        racks = dict(zip(jobs.number.tolist(), jobs.racks.tolist(), strict=True))
        tasks = [(task + 1 << 32) + 13 for task in range(3)]
        assert racks == {11: 1.0, 12: 2.0} | dict.fromkeys(tasks, 0.5)
        history = until(lambda: cluster.receive() or cluster.window.scheduler.history).jobs
        ahead = until(lambda: cluster.receive() or cluster.window.scheduler.announcements)
        assert ahead.number.tolist() == [14]
        assert set(jobs.number.tolist()) == set(history.number.tolist())
        until(
            lambda: {one["state_reason"] for one in cluster.state()["jobs"][:4]} == {"JobHeldAdmin"}
        )

        sequence = actuator.publish_commands(
            PlantCommands(job_caps={11: 0.8, TASK: 1.0, 999: 1.0}), now()
        )
        assert cluster.status(sequence) == JobStatus(
            site="small", sequence=sequence, is_applied=True
        )
        until(lambda: cluster.running() == {11, TASK})
        until(lambda: cluster.caps() == "r11 0.8\n")

        cluster.status(actuator.publish_commands(PlantCommands(job_caps={TASK: 1.0}), now()))
        until(lambda: cluster.running() == {TASK})
        assert cluster.state()["commands"][-2:] == ["hold 11", "requeue 11"]


@pytest.mark.slow
def test_agent_refuses_with_documented_reasons(cluster):
    page = (EXAMPLES.parent / "reference" / "job-messages.md").read_text()
    with cluster.agent():
        until(lambda: cluster.running() == set())
        last = cluster.order(j11=1.0)
        until(lambda: cluster.running() == {11})
        refused = {
            f"stale: sequence 5 is not above {last.sequence}": cluster.order(sequence=5),
            "expired at": cluster.order(ago=3600.0),
            "issued in the future, at": cluster.order(ago=-60.0),
        }
        for words, status in refused.items():
            assert not status.is_applied
            assert status.reason.startswith(words)
            assert words.split(" 5")[0] in page
        assert cluster.running() == {11}


@pytest.mark.slow
def test_expired_orders_start_and_stop_nothing(cluster):
    """Proves: when orders expire, waiting jobs are held again and running jobs continue.

    Sensitivity: they would start when nodes become free, hours after the service stopped.
    """
    with fake_slurm.cluster(cluster.file) as state:
        state["full"] = [12]
    with cluster.agent():
        until(lambda: cluster.running() == set())
        assert cluster.order(j11=1.0, j12=1.0).is_applied
        until(lambda: cluster.running() == {11})
    assert cluster.state()["commands"][-1] == "release 11,12"
    cluster.expire()
    with cluster.agent():
        until(lambda: cluster.state()["commands"][-1] == "hold 12")
        last = cluster.window.scheduler.queue.time
        until(lambda: cluster.running() == {11} and cluster.window.scheduler.queue.time > last)


@pytest.mark.slow
def test_restart_keeps_orders_and_work(cluster):
    with cluster.agent():
        until(lambda: cluster.running() == set())
        last = cluster.order(j11=1.0)
        until(lambda: cluster.running() == {11})
    before = cluster.window.scheduler.queue
    with cluster.agent():
        until(
            lambda: cluster.running() == {11} and cluster.window.scheduler.queue.time > before.time
        )
        assert cluster.order(sequence=last.sequence, j12=1.0).reason.startswith("stale")
    after = cluster.window.scheduler.queue
    assert (
        after.completed_hours[after.jobs.number == 11]
        >= before.completed_hours[before.jobs.number == 11]
    )
    assert "release 12" not in cluster.state()["commands"]


@pytest.mark.slow
def test_unreadable_slurm_publishes_no_queue(cluster):
    """Proves: while Slurm is down no queue is published; later the orders are carried out."""
    with cluster.agent():
        until(lambda: cluster.running() == set())
        with fake_slurm.cluster(cluster.file) as state:
            state["is_down"] = True
        assert "cannot be read" in cluster.order().reason
        begun = len(cluster.samples)
        assert "cannot be read" in cluster.order(j11=1.0).reason
        assert not any(isinstance(one, QueueSnapshot) for one in cluster.samples[begun:])
        with fake_slurm.cluster(cluster.file) as state:
            state["is_down"] = False
        until(lambda: cluster.running() == {11})


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("scheduler_agent")


def job(number, *, start=0, kind="training", hours=2.0, **more):
    described = {"number": number, "name": str(number), "held_as": str(number), "kind": kind}
    described |= {"submitted": NOON, "start": start, "hours": hours, "racks": 1.0, "nodes": "r1"}
    return described | {"depends": False, "is_held": False, "is_free": False} | more


def test_work_follows_cap_and_pause_loss(module, tmp_path, monkeypatch):
    """An hour at 1.0 and one at 0.8 are 1.95 h; a pause leaves 1.85 h; 0.3 h more exceed it."""
    agent = module.Agent("small", tmp_path / "agent.json")

    def look(hours, *, start):
        monkeypatch.setattr(module.cluster, "jobs", lambda: iter([job(7, start=start)]))
        agent.look(NOON + 3600.0 * hours)
        return agent.known["7"]

    assert look(0.0, start=0)["done"] == 0.0
    assert look(1.0, start=NOON)["done"] == pytest.approx(1.0)
    agent.known["7"]["cap"] = 0.8
    one = look(2.0, start=NOON)
    assert (one["done"], one["length"]) == pytest.approx((1.95, 2.2))
    assert look(2.0, start=0)["done"] == pytest.approx(1.85)
    assert look(3.3, start=NOON + 3 * 3600.0)["length"] == pytest.approx(1.85 + 0.3 + 0.25)


def test_long_lists_have_running_and_due_jobs_first(module, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    hours = rng.uniform(0.1, 90.0, 9000).tolist()
    live = [job(n, hours=h, start=NOON if n > 8990 else 0) for n, h in enumerate(hours)]
    monkeypatch.setattr(module.cluster, "jobs", lambda: iter(live))
    agent = module.Agent("small", tmp_path / "agent.json")
    agent.look(NOON + 77.7)
    lists = agent.lists(NOON + 77.7)
    queue, history = (decode(f"dc/v1/small/jobs/{name}", lists[name]) for name in lists)
    assert max(map(len, lists.values())) < MAX_PAYLOAD_BYTES
    assert isinstance(history, JobHistory)
    assert len(queue.jobs.number) == len(history.jobs.number) == module.MOST
    assert queue.running.tolist() == [True] * 9 + [False] * (module.MOST - 9)
    assert (np.diff(queue.jobs.deadline[9:]) >= 0 * SECOND).all()


def test_jobs_that_wait_for_others_are_announced(module, tmp_path, monkeypatch):
    """Proves: a chain of jobs is announced at the ends of those before, and again when it moves.

    A job that arrives stays listed, and one that is cancelled before is withdrawn.
    """
    agent = module.Agent("small", tmp_path / "agent.json")

    def listed(hours, *jobs):
        monkeypatch.setattr(module.cluster, "jobs", lambda: iter(jobs))
        now = NOON + 3600.0 * hours
        agent.look(now)
        made = decode("dc/v1/small/jobs/announced", agent.lists(now)["announced"])
        assert isinstance(made, JobAnnouncements)
        noon = np.datetime64(round(NOON), "s")
        starts, ends = ((times - noon) / (3600 * SECOND) for times in (made.start, made.withdrawn))
        return list(zip(made.number.tolist(), starts.tolist(), ends.tolist(), strict=True))

    first = job(1, start=NOON, hours=4.0)
    second = job(2, depends=True, after=["1"], hours=2.0)
    third = job(3, depends=True, after=["2", "1", "99"], hours=1.0)
    rows = listed(1.0, first, second, third)
    assert [row[:2] for row in rows] == [(2, 4.0), (3, 6.0)]
    assert np.isnan([row[2] for row in rows]).all()
    longer = first | {"hours": 6.0}
    rows = listed(2.0, longer, second, third)
    assert [row[:2] for row in rows] == [(2, 4.0), (3, 6.0), (2, 6.0), (3, 8.0)]
    rows = listed(5.0, second | {"depends": False, "after": []})
    assert [row[2] for row in rows if row[0] == 3][-1] == 5.0
    assert np.isnan([row[2] for row in rows if row[0] == 2]).all()
    restarted = module.Agent("small", tmp_path / "agent.json")
    assert restarted.announced == []
    agent.keep()
    assert len(module.Agent("small", tmp_path / "agent.json").announced) == 4


def test_array_tasks_are_parsed(module):
    assert list(module.cluster.tasks("0-3,7-9:2%4")) == [0, 1, 2, 3, 7, 9]
    assert list(module.cluster.tasks("5")) == [5]
