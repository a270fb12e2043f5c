"""Conversion of results folders that earlier versions of gigatwin wrote.

Identities of versions 1 to 3 use earlier names of policies, of which ``threshold`` now means
another rule. A conversion renames the files of each policy, redraws pictures, and rewrites
``results.json`` and ``run.json``. The digest of the site in such an identity depends on earlier
class names, so the converted identity has no digests, and no further policies can be added.

A conversion that was interrupted continues: renamed files wait in :data:`STAGING_FOLDER`, the
identity of version 4 is written when all are there, and only then do they move back.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from optimizer.backtesting.results import BacktestResults
from optimizer.backtesting.run_folder import (
    IDENTITY_FILE,
    IDENTITY_VERSION,
    RESULTS_FILE,
    identity_version,
    read_json_file,
    read_trajectory_file,
    validated,
    write_trajectory,
)
from telemetry.durable_files import write_json_atomic
from twin.errors import IssueCode, StateError
from twin.site import Site

PRESENT_NAMES: Final = {
    "threshold": "threshold_capped",
    "uncapped": "threshold",
    "optimal": "deterministic",
    "cvar": "hedged",
    "scaling": "carbonscaler",
}
"""Earlier name of a policy -> its present name."""

STAGING_FOLDER: Final = ".converting"
"""Folder inside a results folder for its renamed files during a conversion."""

_POLICY_FILE: Final = re.compile(
    r"(?P<policy>.+)_(?P<seed>\d+)(?P<type>\.nc|\.png|\.decisions\.json)"
)

_BY_POLICY: Final = ("policies", "by_seed", "accounts", "weighed", "broken")
"""Keys of the results whose values are objects by policy."""


def present_name(policy: str) -> str:
    """Return the present name of a policy that an earlier version named."""
    head, plus, series = policy.partition("+")
    return PRESENT_NAMES.get(head, head) + plus + series


def convert_run_folder(folder: Path, site: Site) -> list[str]:
    """Convert a results folder of an earlier version; return sentences that announce it.

    A folder of the present version stays as it is, and the list is empty. Raises StateError if a
    file of the folder is damaged, or the folder is not writable.
    """
    staging = folder / STAGING_FOLDER
    version = _earlier_version(folder)
    if version is None and not staging.exists():
        return []
    try:
        if version is not None:
            _stage(folder, staging, site, version=version)
        for path in sorted(staging.iterdir()):
            path.replace(folder / path.name)
        staging.rmdir()
    except OSError as error:
        raise StateError.single(
            "run",
            IssueCode.FILE_ERROR,
            str(folder),
            found=str(error),
            expected="a writable folder, to convert it from an earlier version",
            remedy="copy the folder to a writable place and name the copy",
        ) from error
    names = ", ".join(f"{old} is now {new}" for old, new in PRESENT_NAMES.items())
    return [
        f"{folder} was written by an earlier version and has been converted: {names}",
        "no further policies can be added to it",
    ]


def _earlier_version(folder: Path) -> int | None:
    """Return the identity version of a folder that needs conversion, else None.

    The folder of a site in a fleet has no identity; earlier versions stored ``optimal`` there.
    """
    version = identity_version(folder)
    if version is None:
        is_earlier = any(folder.glob("optimal_*"))
        return IDENTITY_VERSION - 1 if is_earlier else None
    return version if version < IDENTITY_VERSION else None


def _stage(folder: Path, staging: Path, site: Site, *, version: int) -> None:
    """Move the files of all policies to the staging folder, then write the new identity."""
    results = _converted_results(folder / RESULTS_FILE)
    staging.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir()):
        if named := _POLICY_FILE.fullmatch(path.name):
            policy = present_name(named["policy"])
            path.replace(staging / f"{policy}_{named['seed']}{named['type']}")
    for path in sorted(staging.glob("*.nc")):
        policy, _, seed = path.stem.rpartition("_")
        try:
            trajectory = read_trajectory_file(path)
        except StateError:  # the command that reads this file reports it
            continue
        write_trajectory(staging, site, trajectory, policy=policy, seed=int(seed))
    if results is not None:
        write_json_atomic(staging / RESULTS_FILE, results.as_json())
    path = folder / IDENTITY_FILE
    if path.exists():
        earlier = cast("Mapping[str, object]", read_json_file(path))
        seeds = earlier.get("seeds", results.seeds if results else 1)
        changes = {"version": IDENTITY_VERSION, "converted_from": version, "seeds": seeds}
        write_json_atomic(path, {**earlier, **changes, "digests": {}})


def _converted_results(path: Path) -> BacktestResults | None:
    return convert_results(read_json_file(path), path) if path.exists() else None


def convert_results(content: object, path: Path) -> BacktestResults:
    """Return the results in an object of an earlier version under present names.

    The energy for equal work stays unknown where the object lacks it. Raises StateError if the
    object is no result of a back-test.
    """
    present = validated(content, dict[str, object], path)
    for key in _BY_POLICY:
        by_policy = validated(present.get(key), dict[str, object], path)
        present[key] = {present_name(name): value for name, value in by_policy.items()}
    summaries = validated(present["policies"], dict[str, dict[str, object]], path)
    by_seed = validated(present["by_seed"], dict[str, list[dict[str, object]]], path)
    unknown = {"energy_equal_work_mwh": None}
    present["policies"] = {name: unknown | one for name, one in summaries.items()}
    present["by_seed"] = {name: [unknown | one for one in many] for name, many in by_seed.items()}
    return validated(present, BacktestResults, path)
