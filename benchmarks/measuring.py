"""Measure benches: each run in a process of its own, ours and the limit's in turns."""

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.bench import Bench

ROOT = Path(__file__).parents[1]
ROW = ("name", "value", "unit", "limit_value", "ratio", "peak_mb", "note")
LIBRARIES = ("numpy", "numba", "xarray")

type RunResult = dict[str, float | dict[str, float]]
"""Result of a run: value, cost, peak_mb, figures."""


class UnequalWaysError(AssertionError):
    """Our way and the limit's gave different results, so their times compare nothing."""


def measure(bench: Bench, module: str, *, export: Path | None = None) -> dict[str, object]:
    """Return the row of a bench, measured now.

    Parameters
    ----------
    bench
        What to measure.
    module
        Where it is found again, in another process.
    export
        Folder for models, if they are wanted.
    """
    ways = ["ours"] if bench.limit is None else ["ours", "limit"]
    results: dict[str, list[RunResult]] = {way: [] for way in ways}
    for number in range(bench.runs):
        for way in ways:
            results[way].append(_run(module, bench.name, way, export=None if number else export))
    if bench.limit is not None:
        for ours, limit in zip(results["ours"], results["limit"], strict=True):
            compare(bench, ours["figures"], limit["figures"])
    value, cost, peak = (_median(results["ours"], key) for key in ("value", "cost", "peak_mb"))
    row: dict[str, object] = dict.fromkeys(ROW)
    row |= {"name": bench.name, "value": value, "unit": bench.unit, "peak_mb": peak}
    if bench.limit is not None:
        row["limit_value"] = _median(results["limit"], "value")
        row["ratio"] = cost / _median(results["limit"], "cost")
    row["note"] = "; ".join(part for part in (bench.note, here(bench.runs)) if part)
    return row


def compare(bench: Bench, ours: object, limit: object) -> None:
    """Raise an error if two ways did not find the same."""
    if not isinstance(ours, dict) or not isinstance(limit, dict) or ours.keys() != limit.keys():
        message = f"{bench.name}: the ways give other figures: {ours} and {limit}"
        raise UnequalWaysError(message)
    for name, value in ours.items():
        if not math.isclose(value, limit[name], rel_tol=bench.tolerance, abs_tol=1e-12):
            message = f"{bench.name}: {name} is {value!r} by us, {limit[name]!r} by the limit"
            raise UnequalWaysError(message)


def here(runs: int) -> str:
    """Return runs, commit, versions and machine, in words."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    libraries = " ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"median of {runs}; commit {_commit()}; Python {platform.python_version()} {libraries}; "
        f"{os.cpu_count()} x {models[0] if models else platform.machine()}"
    )


def _commit() -> str:
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _run(module: str, name: str, way: str, *, export: Path | None) -> RunResult:
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        words = [sys.executable, "-P", "-m", "benchmarks.once", module, name, way, scratch]
        done = subprocess.run(
            [*words, *([str(export)] if export else [])],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    result: RunResult = json.loads(done.stdout.splitlines()[-1])
    return result


def _median(results: list[RunResult], key: str) -> float:
    return statistics.median(float(str(one[key])) for one in results)
