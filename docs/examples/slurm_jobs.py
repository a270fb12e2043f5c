"""Slurm as scheduler_agent.py sees it: its jobs, and four things to do with them.

It calls squeue and scontrol, as root or SlurmUser. For Kueue write the same five functions.
"""

import itertools
import json
import os
import subprocess

KINDS = {"training", "batch"}  # partitions, each named as its kind of work in the site file
NODES, ENDLESS = 18, 24.0  # nodes of a rack; hours of a job that has no time limit
CAP = os.environ.get("CAP_PROGRAM", "")  # yours: `CAP_PROGRAM r[1-18] 0.8` caps these nodes
os.environ["SLURM_BITSTR_LEN"] = "0"  # the tasks of an array are told in full


def call(*words):
    """Return what a program says; raise what it complains of."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=120.0, check=False)
    if done.returncode:
        raise OSError(" ".join(done.stderr.split())[:300] or f"{words[0]} failed")
    return done.stdout


def tasks(text):
    """Yield the tasks of an array that have not been split off, such as 0-3,7-9:2%4."""
    for part in text.partition("%")[0].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1, int(step or 1))


def jobs():
    """Yield what runs and what waits, each task of an array for itself."""
    for job in json.loads(call("squeue", "--json"))["jobs"]:
        states, limit = {*job["job_state"]}, job["time_limit"]["number"]
        if job["partition"] not in KINDS or not {"PENDING", "RUNNING"} & states:
            continue
        runs = "RUNNING" in states and "COMPLETING" not in states
        told = {
            "kind": job["partition"],
            "submitted": job["submit_time"]["number"],
            "start": job["start_time"]["number"] if runs else 0,
            "hours": limit / 60.0 if limit else ENDLESS,
            "racks": job["node_count"]["number"] / NODES,
            "nodes": job["nodes"],
            "depends": bool(job["dependency"]) and not runs,
            "is_held": job["hold"] and not runs,
            "is_free": job["state_reason"] != "JobHeldAdmin",  # its owner could let it start
        }
        array, task = job["array_job_id"]["number"], job["array_task_id"]
        if not array:
            name = str(job["job_id"])
            yield told | {"number": job["job_id"], "name": name, "held_as": name}
            continue
        for one in [task["number"]] if task["set"] else tasks(job["array_task_string"]):
            name = f"{array}_{one}"  # tasks held one by one would be split off
            told |= {"name": name, "held_as": name if task["set"] else str(array)}
            yield told | {"number": (one + 1 << 32) + array}


def start(names):
    """Let held jobs start as soon as nodes are free."""
    control("release", names)


def pause(names):
    """Stop jobs that run; they begin again from their last checkpoint when they are started."""
    hold(names)  # after requeuehold alone their owners could let them start
    control("requeue", names)


def hold(names):
    """Keep waiting jobs from starting, also by the hand of their owners."""
    control("hold", names)


def control(word, names):
    """Have Slurm do something with jobs; of those that are gone it complains in the end."""
    for some in itertools.batched(names, 1000):  # no line of a shell is endless
        call("scontrol", word, ",".join(some))


def cap(nodes, share):
    """Cap the power of nodes at a share of what they draw uncapped."""
    if not CAP:
        raise OSError("no program is named that does it")
    call(CAP, nodes, str(share))
