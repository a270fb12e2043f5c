"""The optimisation models of decisions, exported as MPS, regardless of names and order.

The first decision of a run depends on the given series and the site alone. A later one also
depends on the earlier plans, hence on which of several equal optima the solver returned; so later
ones are compared on one machine only.
"""

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.digests import model_facts
from tests.golden.source_tree import (
    EARLIER_PLANNER,
    FORECAST_PLANNER,
    SITES,
    TIME_LIMIT_S,
    CommandFailedError,
    SourceTree,
)

STARTS = (
    "2026-06-03T05:00Z",
    "2026-06-08T11:00Z",
    "2026-06-13T21:15Z",
    "2026-06-18T13:00Z",
    "2026-06-20T16:30Z",
)
"""Starts of further runs: night, morning, weekend, before and after prices are published."""

DECISIONS = 6
"""Decisions taken from a planned day, spread evenly."""

HEDGED_SITES = ("rhine", "small")
"""Sites whose model with scenarios is kept too."""

POLL_S = 0.05
"""Time between two looks for a file. [s]"""


def collect_models(tree: SourceTree, sites: tuple[str, ...] = SITES) -> dict[str, Any]:
    """Return sizes, objectives and digests of models of each site."""
    unique: dict[str, Any] = {}
    machine: dict[str, Any] = {}
    for site in sites:
        for start in STARTS:
            add(unique, machine, f"{site} {start}", forecast_model(tree, site, start))
        if site in HEDGED_SITES:
            sizes, digest = model_facts(hedged_model(tree, site))
            machine[f"{site} {STARTS[3]} hedged"] = sizes | digest
        _, exported = tree.planned_day(site)
        for number, path in enumerate(spread(models_in(exported))):
            name = f"{site} {path.name.removesuffix('.mps.gz')}"
            if number == 0:
                add(unique, machine, name, path)
            else:
                sizes, digest = model_facts(path)
                machine[name] = sizes | digest
    return {"unique": unique, "machine": machine}


def add(unique: dict[str, Any], machine: dict[str, Any], name: str, path: Path) -> None:
    """Add the facts of a model to those equal on all processors and to those equal on one."""
    unique[name], machine[name] = model_facts(path)


def models_in(folder: Path) -> list[Path]:
    """Return the exported models of a folder in order of time."""
    return sorted(folder.rglob("*.mps.gz"), key=lambda path: path.name)


def spread(paths: list[Path]) -> list[Path]:
    """Return some of the paths, the first and the last among them."""
    places = np.linspace(0, len(paths) - 1, DECISIONS).round().astype(int)
    return [paths[place] for place in places]


def hedged_model(tree: SourceTree, site: str) -> Path:
    """Return the first model of the planner that weighs scenarios, by its present or earlier name.

    Its first interval is fixed to a plan over all scenarios, which may be one of several.
    """
    try:
        return first_model(tree, site, STARTS[3], "hedged")
    except CommandFailedError:
        return first_model(tree, site, STARTS[3], "cvar")


def forecast_model(tree: SourceTree, site: str, start: str) -> Path:
    """Return the first model of the planner for the forecast, by its present or earlier name."""
    try:
        return first_model(tree, site, start, FORECAST_PLANNER)
    except CommandFailedError:
        return first_model(tree, site, start, EARLIER_PLANNER)


def first_model(tree: SourceTree, site: str, start: str, policy: str) -> Path:
    """Run a backtest until the model of its first decision is written, and end it.

    Raises
    ------
    CommandFailedError
        If the run ends, or the time limit is reached, before two models are there.
    """
    folder = tree.folder(f"first/{site}-{policy}-{start.replace(':', '')}")
    words = tree.backtest_words(site, start, policy)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            tree.arguments(*words, "--export-mps", str(folder)),
            cwd=folder,
            env=tree.environment,
            stdout=output,
            stderr=output,
        )
    deadline = time.monotonic() + TIME_LIMIT_S
    try:
        while len(models_in(folder)) < 2:  # the second is begun when the first is whole
            if process.poll() is not None or time.monotonic() > deadline:
                message = f"{' '.join(words)}: no model\n{log.read_text()[-2000:]}"
                raise CommandFailedError(message)
            time.sleep(POLL_S)
    finally:
        process.kill()
        process.wait()
    return models_in(folder)[0]
