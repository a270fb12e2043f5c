"""Collect facts of a checkout: its models, numbers, bytes, topics and keys.

Every collector works through the command line, exported models, files on disk, MQTT and HTTP, so
the same code reads a checkout of before and of after a restructuring. It gives two parts:
``unique`` is equal on all processors and whichever of several equal optima the solver returns;
``machine`` is equal on one machine with one environment only.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.golden.days import collect_day, collect_explain
from tests.golden.journals import collect_journal
from tests.golden.models import collect_models
from tests.golden.outputs import collect_keys
from tests.golden.service_day import collect_demo
from tests.golden.simulations import collect_simulate
from tests.golden.source_tree import SourceTree

type Facts = dict[str, Any]
"""Parts of a collector: ``unique`` and ``machine``."""

COLLECTORS: dict[str, Callable[[SourceTree], Facts]] = {
    "models": collect_models,
    "explain": collect_explain,
    "day": collect_day,
    "simulate": collect_simulate,
    "journal": collect_journal,
    "demo": collect_demo,
    "keys": collect_keys,
}


def collect(
    root: Path, names: Sequence[str] = (), *, say: Callable[[str], object] = print
) -> dict[str, Facts]:
    """Run collectors on a checkout.

    Parameters
    ----------
    root
        Folder of the checkout.
    names
        Names of collectors, or none for all.
    say
        Receives a line of progress.
    """
    found: dict[str, Facts] = {}
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        tree = SourceTree(root=root.resolve(), scratch=Path(folder))
        for name in names or COLLECTORS:
            begin = time.monotonic()
            found[name] = COLLECTORS[name](tree)
            say(f"{name:10} collected in {time.monotonic() - begin:5.1f} s")
    return found
