"""What other policies would have done on the plant of a demo; a process of its own."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import sites
from optimizer.service.plant import setting_of
from optimizer.service.trials.backtest import run
from telemetry.files import write_json_atomic

POLICIES: Final = ("threshold", "immediate")
"""Policies that are run on the same plant."""


def compare(site: str, *, steps: int, seed: int, path: Path) -> None:
    """Run the policies on the plant of a demo, and write their summaries.

    Parameters
    ----------
    site
        Name of a declared site, or path of a file.
    steps
        Quarter-hours to run. [1]
    seed
        Seed of the plant.
    path
        File for the summaries.
    """
    setting = setting_of(sites.load_site(site), steps=steps)
    trials = {name: run(setting, name, seed=seed, listen=lambda *_: None) for name in POLICIES}
    write_json_atomic(path, {name: asdict(trial.summary) for name, trial in trials.items()})


if __name__ == "__main__":
    _, name, count, number, file = sys.argv
    compare(name, steps=int(count), seed=int(number), path=Path(file))
