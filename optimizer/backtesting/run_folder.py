"""Results folder of a back-test: identity, results, trajectories, pictures and decisions.

A folder holds ``run.json`` with the identity of the back-test, ``results.json``, and
``policies.png``, which compares the policies. For each
policy and seed it holds the trajectory in quarter-hours (``deterministic_0.nc``), its picture
(``deterministic_0.png``), and every decision of a planner (``deterministic_0.decisions.json``).
Every file is written whole or not at all. Further policies of the same back-test may be added;
results of another back-test may not. The identity holds everything that decides the results, except
the policies.

Folders of earlier versions are converted. Identities of versions 1 to 3 use earlier names of
policies, of which ``threshold`` now means another rule. A conversion renames the files of each
policy, redraws pictures, and rewrites ``results.json`` and ``run.json``. The digest of the site in
such an identity depends on earlier class names, so the converted identity has no digests, and no
further policies can be added. A conversion that was interrupted continues: renamed files wait in
:data:`STAGING_FOLDER`, the identity of version 4 is written when all are there, and only then do
they move back.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypedDict, cast

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import TypeAdapter, ValidationError

from optimizer.backtesting.results import BacktestResults
from optimizer.backtesting.runner import PolicyRun
from optimizer.inputs.series_files import RunInputs
from optimizer.planner.decision import DecisionRecord
from optimizer.policies.policy import PLANNER_ALIAS, PLANNERS, resolve_policy
from optimizer.reporting.run_files import write_netcdf
from telemetry.durable_files import replace_when_written, write_json_atomic
from twin import plots, time_axes, units, variables
from twin.errors import GigatwinError, IssueCode, ProblemError, StateError
from twin.site import DIGEST_BYTES, Site
from twin.time_axes import TIME_BOUNDS_VARIABLE
from twin.units import format_minute

RESULTS_FILE: Final = "results.json"

COMPARISON_FIGURE: Final = "policies.png"
"""Figure that compares all policies of a folder."""

IDENTITY_FILE: Final = "run.json"
"""File that identifies the back-test of a folder."""

REQUIRED_TRAJECTORY_VARIABLES: Final = ("grid_import_power", "facility_power", "electricity_price")
"""Variables of every trajectory."""

EXPLAINED_VARIABLES: Final = (*REQUIRED_TRAJECTORY_VARIABLES, "carbon_intensity")
"""Variables that an explanation shows of an interval, where they are known."""

RENAMED_VARIABLES: Final = {"chip_temperature": "full_load_chip_temperature"}
"""Variable of an earlier trajectory -> its present name.

Trajectories once had the temperature at full load alone, under the earlier name; today they have
both variables.
"""

IDENTITY_FORMAT_VERSION: Final = 4
"""Version of the identity. [1]

Version 1 had no version, seeds and digests; 2 had earlier class names in the digest of the site;
3 had earlier names of policies.
"""


class IdentityHeader(TypedDict):
    """Part of an identity that every version has."""

    site: str


class BacktestIdentity(IdentityHeader):
    """Identity of a back-test.

    - `version`: :data:`IDENTITY_FORMAT_VERSION`.
    - `digests`: of the declared site, of the jobs, and of each series by its variable; empty in a
      converted folder.
    """

    version: int
    start: str
    days: int
    load_scale: float
    seeds: int
    digests: dict[str, str]


def open_run_folder(folder: Path, identity: BacktestIdentity) -> None:
    """Create the folder of a back-test, or check that an existing one holds the same back-test.

    Raises ProblemError if the folder holds another back-test or an unidentified one, or is a file.
    Raises StateError if the identity or the results in the folder are damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise _folder_conflict(folder, "is a file", IssueCode.FILE_ERROR)
    path = folder / IDENTITY_FILE
    if path.exists():
        _check_identity(folder, identity)
        read_results(folder)
    elif (folder / RESULTS_FILE).exists():
        raise _folder_conflict(
            folder, f"has {RESULTS_FILE} without {IDENTITY_FILE}", IssueCode.MISSING
        )
    else:
        write_json_atomic(path, identity)


def identity_version(folder: Path) -> int | None:
    """Return the version of a folder's identity, 1 if it states none; None without an identity.

    Raises StateError if the identity is damaged.
    """
    path = folder / IDENTITY_FILE
    if not path.exists():
        return None
    content = read_json_file(path)
    validate_file_content(content, IdentityHeader, path)
    version = cast("Mapping[str, object]", content).get("version", 1)
    return version if isinstance(version, int) else 1


def _check_identity(folder: Path, identity: BacktestIdentity) -> None:
    """Refuse a folder of another back-test with the differences."""
    version = identity_version(folder)
    if version != IDENTITY_FORMAT_VERSION:
        found = (
            f"has version {version} of {IDENTITY_FILE}; this gigatwin has {IDENTITY_FORMAT_VERSION}"
        )
        raise _folder_conflict(folder, found, IssueCode.WRONG_VERSION)
    path = folder / IDENTITY_FILE
    stored = validate_file_content(read_json_file(path), BacktestIdentity, path)
    if not stored["digests"]:
        found = "was converted from an earlier version, which cannot prove its site and series"
        raise _folder_conflict(folder, found, IssueCode.WRONG_VERSION)
    if differences := list(describe_identity_differences(stored, identity)):
        head = f"holds another back-test of {stored['site']} from {stored['start']}"
        raise _folder_conflict(folder, f"{head} ({'; '.join(differences)})", IssueCode.INCONSISTENT)


def _folder_conflict(folder: Path, found: str, code: IssueCode) -> ProblemError:
    return ProblemError.single(
        "run",
        code,
        "--out",
        found=f"{folder} {found}",
        expected="a new folder, or one of the same back-test",
        remedy="name a new folder, or remove this one",
    )


def check_run_site(folder: Path, site: Site) -> None:
    """Refuse the folder of another site's back-test.

    Raises StateError if the folder holds another site's run, or its :data:`IDENTITY_FILE` is
    damaged.
    """
    path = folder / IDENTITY_FILE
    if not path.exists():
        return
    name = validate_file_content(read_json_file(path), IdentityHeader, path)["site"]
    if name != site.name:
        raise StateError.single(
            "run",
            IssueCode.INCONSISTENT,
            str(folder),
            found=f"a run of {name}",
            expected=f"a run of {site.name}",
            remedy=f"name the site {name}, or another folder",
        )


def write_policy_run(folder: Path, site: Site, policy_run: PolicyRun) -> None:
    """Write the trajectory, the picture and the decisions of a run; the folder is made."""
    stem = f"{policy_run.policy}_{policy_run.seed}"
    write_trajectory(
        folder, site, policy_run.trajectory, policy=policy_run.policy, seed=policy_run.seed
    )
    if policy_run.decisions:
        records = [decision.as_record() for decision in policy_run.decisions]
        write_json_atomic(folder / f"{stem}.decisions.json", records)


def write_trajectory(
    folder: Path, site: Site, trajectory: xr.Dataset, *, policy: str, seed: int
) -> None:
    """Write the trajectory of a policy on the plant of a seed, and its picture."""
    stem = f"{policy}_{seed}"
    title = f"{site.name}, {policy}, plant {seed}"
    write_netcdf(folder / f"{stem}.nc", trajectory, site=site.name, title=title)
    figure = plots.plot_run(trajectory, site, title=f"{site.name}, {policy}")
    with replace_when_written(folder / f"{stem}.png") as draft:
        figure.savefig(draft, format="png")


def write_results(folder: Path, results: BacktestResults) -> BacktestResults:
    """Write results beside those of other policies in the folder; return all of them.

    The folder holds only this back-test, see :func:`open_run_folder`. New results replace earlier
    ones of the same policies.
    """
    earlier = read_results(folder)
    merged = results if earlier is None else results.merged_with(earlier)
    write_json_atomic(folder / RESULTS_FILE, merged.as_json())
    return merged


def save_comparison(results: BacktestResults, path: Path) -> None:
    """Write the figure that compares the policies of a back-test for equal work."""
    half_widths = {name: one.half_width for name, one in results.differences.items()}
    days = f"{results.days} days" if results.days > 1 else "1 day"
    figure = plots.plot_comparison(
        {name: asdict(summary) for name, summary in results.policies.items()},
        beside=results.reference_policy,
        title=f"{results.site}, {days} from {results.start}",
        half_widths={name: width for name, width in half_widths.items() if width is not None},
    )
    with replace_when_written(path) as draft:
        figure.savefig(draft, format=path.suffix[1:])


def read_results(folder: Path) -> BacktestResults | None:
    """Return the results of a folder, or None if it has none.

    Raises StateError if they are damaged, or of another version.
    """
    _check_version(folder)
    path = folder / RESULTS_FILE
    return (
        validate_file_content(read_json_file(path), BacktestResults, path)
        if path.exists()
        else None
    )


def _check_version(folder: Path) -> None:
    """Refuse a folder of another version, in which names of policies may mean others."""
    version = identity_version(folder)
    if version in (None, IDENTITY_FORMAT_VERSION):
        return
    raise StateError.single(
        "run",
        IssueCode.WRONG_VERSION,
        str(folder / IDENTITY_FILE),
        found=f"version {version}",
        expected=f"version {IDENTITY_FORMAT_VERSION}",
        remedy="convert an earlier folder with gigatwin explain SITE --run DIR",
    )


def read_backtest_decision(
    folder: Path, at: str | None = None, *, policy: str = PLANNER_ALIAS, seed: int = 0
) -> DecisionRecord:
    """Return the decision of a planner in force at a time, or the last one if ``at`` is None.

    Raises StateError if the folder holds no decisions, none in force then, or damaged ones.
    """
    _check_version(folder)
    policy = _stored_policy(folder, policy, seed)
    path = folder / f"{policy}_{seed}.decisions.json"
    if not path.exists():
        remedy = f"run gigatwin backtest with --out and the policy {policy} first"
        if (folder / f"{policy}_{seed}.nc").exists():
            remedy = f"name a planner, such as {PLANNER_ALIAS}: {policy} is a rule without plans"
        raise _missing_file(path, remedy)
    decisions, starts = _decisions(path)
    if at is None:
        return decisions[-1]
    moment = time_axes.to_utc(at)
    trajectory = read_trajectory(folder, policy=policy, seed=seed)
    end = time_axes.to_utc(str(trajectory["instant"].to_numpy()[-1]))
    if not starts[0] <= moment < end:
        raise StateError.single(
            "run",
            IssueCode.OUT_OF_RANGE,
            "--at",
            found=at,
            expected=f"from {units.format_minute(starts[0])} to {units.format_minute(end)}",
            remedy="name a time within the run",
        )
    return decisions[int(np.searchsorted(starts, moment, side="right")) - 1]


def _stored_policy(folder: Path, policy: str, seed: int) -> str:
    """Return the stored name of a policy; an alias stands for a planner that ran in the folder.

    One that ran on the plant of the seed comes before one of other plants.
    """
    for plant in (str(seed), "*"):
        if stored := [one for one in PLANNERS if any(folder.glob(f"{one}_{plant}.*"))]:
            return resolve_policy(policy, stored)
    return resolve_policy(policy)


def _missing_file(path: Path, remedy: str) -> StateError:
    return StateError.single(
        "run", IssueCode.MISSING, str(path), expected="a file of a back-test", remedy=remedy
    )


def _decisions(path: Path) -> tuple[list[DecisionRecord], list[np.datetime64]]:
    """Return the decisions of a file, at least one, and their starts."""
    content = read_json_file(path)
    validate_file_content(content, list[DecisionRecord], path)
    decisions = cast("list[DecisionRecord]", content)  # as read: later versions may add keys
    if not decisions:
        raise damaged_file_error(path, "no decision")
    try:
        return decisions, [time_axes.to_utc(decision["start"]) for decision in decisions]
    except GigatwinError as error:
        raise damaged_file_error(path, "a decision whose start is no time") from error


def read_trajectory(folder: Path, *, policy: str = PLANNER_ALIAS, seed: int = 0) -> xr.Dataset:
    """Return the trajectory of a policy.

    Raises StateError if it is missing or damaged, or the folder is of another version.
    """
    _check_version(folder)
    policy = _stored_policy(folder, policy, seed)
    path = folder / f"{policy}_{seed}.nc"
    if not path.exists():
        raise _missing_file(path, f"run gigatwin backtest with --out and the policy {policy} first")
    return read_trajectory_file(path)


def read_trajectory_file(path: Path) -> xr.Dataset:
    """Return the trajectory of a file.

    A file of an earlier version gets the present names of :data:`RENAMED_VARIABLES`. Raises
    StateError if it is damaged.
    """
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            trajectory = opened.load().drop_vars(TIME_BOUNDS_VARIABLE, errors="ignore")
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # raised by the HDF5 library
        raise damaged_file_error(path, "cut short, or no NetCDF") from error
    if absent := [
        name
        for name in ("time", "instant", *REQUIRED_TRAJECTORY_VARIABLES)
        if name not in trajectory.variables
    ]:
        raise damaged_file_error(path, f"not a file of a back-test (without {', '.join(absent)})")
    for earlier, present in RENAMED_VARIABLES.items():
        if earlier in trajectory and present not in trajectory:
            trajectory = trajectory.rename_vars({earlier: present})
            trajectory[present].attrs = variables.variable_attributes(present)
    return trajectory


DAMAGED_FILE_REMEDY: Final = (
    "run gigatwin backtest again into a new folder, or restore the file from a copy"
)


def read_json_file(path: Path) -> object:
    """Return the JSON value of a file.

    Raises StateError if it is cut short, or no JSON.
    """
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # undecodable bytes are a ValueError too
        raise damaged_file_error(path, f"cut short, or no JSON ({error})") from error
    return content


def validate_file_content[T](content: object, shape: type[T], path: Path) -> T:
    """Return the content of a file as a typed value; keys without a field are dropped.

    Raises StateError if a field is missing, or of another type.
    """
    try:
        return TypeAdapter(shape).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise damaged_file_error(
            path, f"not a file of a back-test ({place}: {first['msg']})"
        ) from error


def damaged_file_error(path: Path, found: str) -> StateError:
    """Return the error of a damaged file."""
    return StateError.single(
        "run",
        IssueCode.CORRUPT,
        str(path),
        found=found,
        expected="a whole file of a back-test",
        remedy=DAMAGED_FILE_REMEDY,
    )


SITE_DIGEST_KEY: Final = "declared site"
JOBS_DIGEST_KEY: Final = "jobs"
ANNOUNCED_DIGEST_KEY: Final = "announced"
"""Keys of the digests beside the variables of the series."""

DIGESTED_JOB_COLUMNS: Final = ("arrival", "length", "size")
"""Columns of jobs that decide results; the id of a job decides none without announcements."""

REQUESTED_VALUE_FORMATS: Final = {
    "start": "start {}",
    "days": "days {}",
    "load_scale": "load scale {:g}",
    "seeds": "seeds {}",
}
"""Key of a requested value -> its format in an error."""


def build_identity(
    site: Site, inputs: RunInputs, *, load_scale: float, seeds: int
) -> BacktestIdentity:
    """Return the identity of a back-test; names of files do not matter, only their content."""
    series = {**inputs.series.coords, **inputs.series.data_vars}
    return BacktestIdentity(
        version=IDENTITY_FORMAT_VERSION,
        site=site.name,
        start=format_minute(inputs.start),
        days=round((inputs.end - inputs.start) / np.timedelta64(1, "D")),
        load_scale=load_scale,
        seeds=seeds,
        digests={
            SITE_DIGEST_KEY: site.parameter_digest,
            JOBS_DIGEST_KEY: _digest_columns(inputs.jobs[list(DIGESTED_JOB_COLUMNS)]),
            **(
                {}
                if inputs.announced is None
                else {ANNOUNCED_DIGEST_KEY: _digest_columns(inputs.announced)}
            ),
            **{str(name): _digest([values]) for name, values in sorted(series.items(), key=str)},
        },
    )


def describe_identity_differences(
    found: BacktestIdentity, wanted: BacktestIdentity
) -> Iterator[str]:
    """Yield sentences on the differences of a stored identity from the wanted one."""
    if found["site"] != wanted["site"]:
        yield f"site {found['site']}, not {wanted['site']}"
        return
    stored: Mapping[str, object] = found
    requested: Mapping[str, object] = wanted
    for key, form in REQUESTED_VALUE_FORMATS.items():
        if stored[key] != requested[key]:
            yield f"{form.format(stored[key])}, not {requested[key]}"
    names = sorted(found["digests"].keys() | wanted["digests"].keys())
    changed = [
        name.replace("_", " ")
        for name in names
        if found["digests"].get(name) != wanted["digests"].get(name)
    ]
    if changed:
        yield f"another content of {', '.join(changed)}"


def _digest_columns(rows: pd.DataFrame) -> str:
    return _digest([rows[name].to_xarray() for name in sorted(rows.columns)])


def _digest(many: list[xr.DataArray]) -> str:
    """Return a digest of arrays with their names and axes."""
    found = blake2b(digest_size=DIGEST_BYTES)
    for values in many:
        array = np.ascontiguousarray(values.to_numpy())
        plain = array.astype(str) if array.dtype == object else array
        found.update(f"{values.name} {values.dims} {plain.shape} {plain.dtype}".encode())
        found.update(plain.tobytes())
    return found.hexdigest()


PRESENT_POLICY_NAMES: Final = {
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


def present_policy_name(policy: str) -> str:
    """Return the present name of a policy that an earlier version named."""
    head, plus, series = policy.partition("+")
    return PRESENT_POLICY_NAMES.get(head, head) + plus + series


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
    names = ", ".join(f"{old} is now {new}" for old, new in PRESENT_POLICY_NAMES.items())
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
        return IDENTITY_FORMAT_VERSION - 1 if is_earlier else None
    return version if version < IDENTITY_FORMAT_VERSION else None


def _stage(folder: Path, staging: Path, site: Site, *, version: int) -> None:
    """Move the files of all policies to the staging folder, then write the new identity."""
    results = _converted_results(folder / RESULTS_FILE)
    staging.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir()):
        if named := _POLICY_FILE.fullmatch(path.name):
            policy = present_policy_name(named["policy"])
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
        changes = {"version": IDENTITY_FORMAT_VERSION, "converted_from": version, "seeds": seeds}
        write_json_atomic(path, {**earlier, **changes, "digests": {}})


def _converted_results(path: Path) -> BacktestResults | None:
    return convert_earlier_results(read_json_file(path), path) if path.exists() else None


def convert_earlier_results(content: object, path: Path) -> BacktestResults:
    """Return the results in an object of an earlier version under present names.

    The energy for equal work stays unknown where the object lacks it. Raises StateError if the
    object is no result of a back-test.
    """
    present = validate_file_content(content, dict[str, object], path)
    for key in _BY_POLICY:
        by_policy = validate_file_content(present.get(key), dict[str, object], path)
        present[key] = {present_policy_name(name): value for name, value in by_policy.items()}
    summaries = validate_file_content(present["policies"], dict[str, dict[str, object]], path)
    by_seed = validate_file_content(present["by_seed"], dict[str, list[dict[str, object]]], path)
    unknown = {"energy_equal_work_mwh": None}
    present["policies"] = {name: unknown | one for name, one in summaries.items()}
    present["by_seed"] = {name: [unknown | one for one in many] for name, many in by_seed.items()}
    return validate_file_content(present, BacktestResults, path)
