"""What the commands for sites and planning write with ``--json``."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.golden.shapes import numbers_of, shape_of
from tests.golden.source_tree import SITES, START, SourceTree

DAY = ("--start", START, "--days", "1")

LOAD = (*DAY, "--utilisation", "0.6")

UNIQUE = ("describe", "tariff meter", "fit throughput", "trip", "trips")
"""Commands without a search or a plan: their numbers are equal on all processors."""

BROKEN_SITE = """\
[site]
title = "incomplete"
"""


def collect_keys(tree: SourceTree, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the keys that each command writes, and its numbers.

    Parameters
    ----------
    tree
        The checkout.
    names
        Rows of the table below, or none for all.
    """
    unique: dict[str, Any] = {}
    machine: dict[str, Any] = {}
    for name, run in COMMANDS.items():
        if names and name not in names:
            continue
        result = run(tree)
        numbers = numbers_of(result)
        unique[name] = {"keys": shape_of(result)}
        if name in UNIQUE:
            unique[name]["numbers"] = numbers
        machine[name] = numbers
    return {"unique": unique, "machine": machine}


def _plain(*words: str) -> Callable[[SourceTree], Any]:
    """Return what runs a command that needs no file."""
    return lambda tree: tree.command(*words)


def _refused_site(tree: SourceTree) -> Any:
    """Check a site file that is refused: the exit status is 1."""
    path = tree.folder("files") / "incomplete.toml"
    path.write_text(BROKEN_SITE, encoding="utf-8")
    return tree.command("sites", "check", str(path), statuses=(1,))


def _reference(tree: SourceTree) -> Any:
    """Write the reference pages; of their names the last part is kept."""
    found = tree.command("sites", "reference", "--out", str(tree.folder("reference")))
    return {"files": {Path(name).name: "" for name in found["files"]}}


def _trip(tree: SourceTree) -> Any:
    """Follow the failure that is named first."""
    rows = tree.command("simulate", "small", *LOAD, "--trip", "all")["trips"]
    return tree.command("simulate", "small", *LOAD, "--trip", rows[0]["trip"])


def _racks(tree: SourceTree) -> Any:
    """Simulate two hours rack by rack."""
    out = tree.folder("files") / "racks.zarr"
    span = ["--from", f"{START}T06:00Z", "--to", f"{START}T08:00Z", "--level-step", "15min"]
    words = ["simulate", "small", *LOAD, "--level", "rack", *span]
    return tree.command(*words, "--out", str(out))


def _tariff_of_meter(tree: SourceTree) -> Any:
    """Bill a day of a meter whose power rises and falls in steps."""
    path = tree.folder("files") / "meter.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time_utc", "import_mw"])
        for quarter in range(96):
            hour, minute = divmod(quarter * 15, 60)
            power = 2.0 + quarter % 7 * 0.25
            rows.writerow([f"{START}T{hour:02d}:{minute:02d}:00Z", power])
    return tree.command("tariff", "small", "--meter", str(path), "--rules", "germany")


def _tariff_of_run(tree: SourceTree) -> Any:
    out, _ = tree.planned_day("small")
    return tree.command("tariff", "small", "--run", str(out), "--rules", "spain")


def _course(tree: SourceTree) -> Path:
    """Return the file of the day that the planner steered."""
    out, _ = tree.planned_day("small")
    (path,) = out.glob("*.nc")
    return path


def _report(tree: SourceTree) -> Any:
    return tree.command("report", "small", str(_course(tree)))


def _calibrate(tree: SourceTree) -> Any:
    return tree.command("calibrate", "small", "--telemetry", str(_course(tree)))


def _drift(tree: SourceTree) -> Any:
    state = tree.folder("no-calibrations")
    return tree.command("calibrate", "small", "--drift", "--state", str(state))


def _fit(tree: SourceTree) -> Any:
    """Fit throughput to two made-up jobs under five limits."""
    path = tree.folder("files") / "powercap.csv"
    head = "dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power"
    lines = [head]
    for network, base in (("net_a", 10.0), ("net_b", 14.0)):
        for limit, slower in ((100, 1.6), (150, 1.25), (200, 1.1), (250, 1.02), (300, 1.0)):
            lines.append(f"data,{network},64,sgd,{limit},{base * slower:.3f},{limit * 0.95:.2f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tree.command("fit", "throughput", str(path), "--name", "golden")


def _described(tree: SourceTree) -> Any:
    """Describe all sites; their keys are joined, for each has other machines."""
    found = [tree.command("sites", "describe", site)["sites"] for site in SITES]
    return {"sites": [one for rows in found for one in rows]}


COMMANDS: dict[str, Callable[[SourceTree], Any]] = {
    "sites list": _plain("sites", "list"),
    "sites check": _plain("sites", "check"),
    "sites check refused": _refused_site,
    "describe": _described,
    "reference": _reference,
    "trip": _trip,
    "trips": _plain("simulate", "rhine", *LOAD, "--trip", "all"),
    "simulate racks": _racks,
    "setpoints": _plain("setpoints", "small", *DAY),
    "validate": _plain("validate"),
    "fleet": _plain("fleet", "small", "rhine"),
    "front": _plain("front", "small", "--carbon-prices", "0,0.1"),
    "tariff meter": _tariff_of_meter,
    "tariff run": _tariff_of_run,
    "report": _report,
    "calibrate": _calibrate,
    "calibrate drift": _drift,
    "fit throughput": _fit,
}
"""Name of a row -> what runs the command and returns the JSON."""

CHEAP = ("sites list", "sites check", "sites check refused", "reference")
"""Rows that take a few seconds."""
