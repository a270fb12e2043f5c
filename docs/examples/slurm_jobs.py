"""Slurm for scheduler_agent.py: its jobs, and four actions on them.

It calls squeue and scontrol, as root or SlurmUser. For Kueue write the same five functions.
"""

import itertools
import json
import os
import re
import subprocess

KINDS = {"training", "batch"}  # partitions, each named as its kind of work in the site file
NODES, ENDLESS = 18, 24.0  # nodes of a rack; hours of a job that has no time limit
CAP = os.environ.get("CAP_PROGRAM", "")  # your program: `CAP_PROGRAM r[1-18] 0.8` caps these nodes
os.environ["SLURM_BITSTR_LEN"] = "0"  # Slurm prints all tasks of an array


def call(*words):
    """Return the output of a program; raise its error message."""
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
    """Yield running and waiting jobs, each task of an array separately."""
    for job in json.loads(call("squeue", "--json"))["jobs"]:
        states, limit = {*job["job_state"]}, job["time_limit"]["number"]
        if job["partition"] not in KINDS or not {"PENDING", "RUNNING"} & states:
            continue
        runs = "RUNNING" in states and "COMPLETING" not in states
        fields = {
            "kind": job["partition"],
            "submitted": job["submit_time"]["number"],
            "start": job["start_time"]["number"] if runs else 0,
            "hours": limit / 60.0 if limit else ENDLESS,
            "racks": job["node_count"]["number"] / NODES,
            "nodes": job["nodes"],
            "depends": bool(job["dependency"]) and not runs,
            "after": re.findall(r":(\d+(?:_\d+)?)", job["dependency"]),  # names of other jobs
            "is_held": job["hold"] and not runs,
            "is_free": job["state_reason"] != "JobHeldAdmin",  # its owner could release it
        }
        array, task = job["array_job_id"]["number"], job["array_task_id"]
        if not array:
            name = str(job["job_id"])
            yield fields | {"number": job["job_id"], "name": name, "held_as": name}
            continue
        for one in [task["number"]] if task["set"] else tasks(job["array_task_string"]):
            name = f"{array}_{one}"  # tasks held one by one would be split off
            fields |= {"name": name, "held_as": name if task["set"] else str(array)}
            yield fields | {"number": (one + 1 << 32) + array}


def start(names):
    """Release held jobs, to start as soon as nodes are free."""
    control("release", names)


def pause(names):
    """Stop jobs that run; they begin again from their last checkpoint when they are started."""
    hold(names)  # after requeuehold alone their owners could release them
    control("requeue", names)


def hold(names):
    """Hold waiting jobs, so that their owners cannot release them."""
    control("hold", names)


def control(word, names):
    """Apply a Slurm command to jobs; in the end raise its errors, as for jobs that are gone."""
    for some in itertools.batched(names, 1000):  # the length of a command line is limited
        call("scontrol", word, ",".join(some))


def cap(nodes, share):
    """Cap the power of nodes at a share of what they draw uncapped."""
    if not CAP:
        raise OSError("no program is named that does it")
    call(CAP, nodes, str(share))
