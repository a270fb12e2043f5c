"""A whole day in closed loop under several policies, and the reasons of its decisions."""

from typing import Any

import xarray as xr

from tests.golden.digests import dataset_digests
from tests.golden.shapes import (
    numbers_of,
    renamed,
    shape_of,
    uses_earlier_names,
    with_policy_names,
)
from tests.golden.source_tree import START, CommandFailedError, SourceTree

EARLIER_POLICIES = "immediate,threshold,uncapped,scaling,optimal"
PRESENT_POLICIES = "immediate,threshold_capped,threshold,carbonscaler,deterministic"
"""The same policies by the names of before and after the renaming."""

RULES = ("immediate", "threshold_capped", "threshold", "carbonscaler")
"""Policies that do not solve a model: their figures do not depend on equal optima."""

EXPLAINED_SITES = ("rhine", "small")

TIMES = ("T00:00Z", "T06:00Z", "T13:00Z", "T20:00Z")
"""Times of the day whose decisions are explained."""

LIMIT_KEYS = ("from", "to", "intervals", "price_eur", "unit")
"""What is kept of a binding limit; its text may be rewritten."""


def collect_day(tree: SourceTree) -> dict[str, Any]:
    """Return the result of a day on the site ``small``, and digests of its trajectories."""
    out = tree.folder("policies")
    result, is_earlier = _backtest(tree, str(out))
    named = with_policy_names(result, is_earlier=is_earlier)
    numbers = numbers_of(named)
    arrays = {}
    for path in sorted(out.glob("*.nc")):
        policy, _, seed = path.stem.rpartition("_")
        with xr.open_dataset(path) as data:
            arrays[f"{renamed(policy, is_earlier=is_earlier)} {seed}"] = dataset_digests(data)
    rules = {name: numbers["policies"][name] for name in RULES}
    names = {name: sorted(digests) for name, digests in arrays.items()}
    files = sorted(_file_name(path.name, is_earlier=is_earlier) for path in out.iterdir())
    return {
        "unique": {
            "keys": shape_of(named),
            "rules": rules,
            "variables": names,
            "files": files,
        },
        "machine": {"result": numbers, "arrays": arrays},
    }


def _backtest(tree: SourceTree, out: str) -> tuple[dict[str, Any], bool]:
    """Return the result of the policies by whichever names the checkout knows."""
    try:
        words = tree.backtest_words("small", START, PRESENT_POLICIES)
        return tree.command(*words, "--out", out), False
    except CommandFailedError:
        words = tree.backtest_words("small", START, EARLIER_POLICIES)
        result = tree.command(*words, "--out", out)
    return result, uses_earlier_names(result["policies"])


def _file_name(name: str, *, is_earlier: bool) -> str:
    """Return the name of a result file, which begins with the name of a policy."""
    policy, underscore, rest = name.rpartition("_")
    return renamed(policy, is_earlier=is_earlier) + underscore + rest


def collect_explain(tree: SourceTree) -> dict[str, Any]:
    """Return accounts and binding limits of decisions of planned days."""
    unique, machine = {}, {}
    for site in EXPLAINED_SITES:
        out, _ = tree.planned_day(site)
        for time in TIMES:
            found = tree.command("explain", site, "--run", str(out), "--at", START + time)
            machine[f"{site} {time}"] = {
                "accounts": found["accounts"],
                "binding": _limits(found["binding"]),
                "failures": numbers_of(found.get("failures", [])),
                "softened": numbers_of(found.get("softened", [])),
                "changes": len(found["changes"]),
                "doubtful": len(found.get("doubtful", [])),
            }
            unique[f"{site} {time}"] = {
                "keys": sorted(found),
                "accounts": sorted(found["accounts"]),
                "start": found["start"],
            }
    return {"unique": unique, "machine": machine}


def _limits(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return binding limits without their texts, in an order that does not depend on them."""
    kept = [{key: row.get(key) for key in LIMIT_KEYS} for row in rows]
    return sorted(kept, key=lambda row: str([row[key] for key in LIMIT_KEYS]))
