"""Stand-ins for squeue and scontrol of Slurm 24.11, modelled on the real programs.

    python fake_slurm.py FILE squeue --json
    python fake_slurm.py FILE scontrol release 11,13_4

FILE holds the jobs as JSON, and each command that scontrol received.
"""

import contextlib
import fcntl
import json
import sys
import time
from pathlib import Path


def number(value):
    """Return a number as Slurm writes it."""
    return {"set": value is not None, "infinite": False, "number": value or 0}


def job(name, partition, *, nodes=18, minutes=60, **words):
    """Return a job that job_submit.lua has held."""
    return {
        "job_id": name,
        "array_job_id": number(0),
        "array_task_id": number(None),
        "array_task_string": "",
        "partition": partition,
        "job_state": ["PENDING"],
        "state_reason": "JobHeldUser",
        "submit_time": number(int(time.time()) - 600),
        "start_time": number(0),
        "node_count": number(nodes),
        "nodes": "",
        "time_limit": number(minutes),
        "hold": True,
        "dependency": "",
    } | words


@contextlib.contextmanager
def cluster(path):
    """Yield the state in a file, and write it back."""
    with Path(path).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        yield state
        file.seek(0)
        file.truncate()
        json.dump(state, file)


def make(path, jobs):
    """Write a cluster of some jobs."""
    Path(path).write_text(json.dumps({"jobs": jobs, "commands": [], "is_down": False, "full": []}))


def jobs_named(state, name):
    """Return the jobs of a name; one task of an array is split off."""
    base, _, task = name.partition("_")
    if not task:
        return [
            one
            for one in state["jobs"]
            if int(base) in (one["job_id"], one["array_job_id"]["number"])
        ]
    tasks = [one for one in state["jobs"] if one["array_job_id"]["number"] == int(base)]
    split = [one for one in tasks if one["array_task_id"] == number(int(task))]
    if split:
        return split
    (whole,) = (one for one in tasks if one["job_id"] == int(base))
    first, last = map(int, whole["array_task_string"].split("-"))
    assert int(task) == last, "this Slurm splits off the last one only"
    whole["array_task_string"] = f"{first}-{last - 1}"
    split = whole | {"job_id": 900 + last, "array_task_id": number(last), "array_task_string": ""}
    state["jobs"].append(split)
    return [split]


def change(state, command, one):
    """Change a job as scontrol does."""
    runs = "RUNNING" in one["job_state"]
    if command == "hold":
        one |= {"hold": True, "state_reason": "JobHeldAdmin"}
    elif command == "release":
        one |= {"hold": False, "state_reason": "None"}
        if one["job_id"] in state["full"]:
            one["state_reason"] = "Resources"
        elif not runs:
            nodes = f"r{one['job_id']}"
            one |= {
                "job_state": ["RUNNING"],
                "start_time": number(int(time.time())),
                "nodes": nodes,
            }
    elif command == "requeue":
        one |= {"job_state": ["PENDING"], "nodes": "", "submit_time": number(int(time.time()))}


def main(path, program, command, names=""):
    """Answer as one of the programs."""
    with cluster(path) as state:
        if state["is_down"]:
            return f"{program}: error: Unable to contact slurm controller (connect failure)"
        if program == "squeue":
            sys.stdout.write(json.dumps({"jobs": state["jobs"]}))
            return 0
        state["commands"].append(f"{command} {names}")
        for name in names.split(","):
            for one in jobs_named(state, name):
                change(state, command, one)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
