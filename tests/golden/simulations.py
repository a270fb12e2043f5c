"""What the twin of each site draws through a day at a fixed load."""

from typing import Any

import xarray as xr

from tests.golden.digests import dataset_digests, dataset_sums
from tests.golden.shapes import numbers_of, shape_of
from tests.golden.source_tree import SITES, START, SourceTree

RESIDUALS = ("closure",)
"""Figures that are the rounding error of a sum: on another processor they are others."""


def collect_simulate(tree: SourceTree, sites: tuple[str, ...] = SITES) -> dict[str, Any]:
    """Return figures of a simulated day at each site, and sums and digests of its arrays."""
    unique, machine = {}, {}
    for site in sites:
        out = tree.folder("simulate") / f"{site}.nc"
        words = ["simulate", site, "--start", START, "--days", "1", "--utilisation", "0.6"]
        result = tree.command(*words, "--out", str(out))
        numbers = numbers_of(result)
        with xr.open_dataset(out) as data:
            sums, digests = dataset_sums(data), dataset_digests(data)
        figures = {key: value for key, value in numbers.items() if key not in RESIDUALS}
        unique[site] = {"figures": figures, "keys": shape_of(result), "sums": sums}
        machine[site] = {"figures": numbers, "arrays": digests}
    return {"unique": unique, "machine": machine}
