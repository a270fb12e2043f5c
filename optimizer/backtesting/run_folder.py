"""What a back-test leaves on disk, and how it is read again: every file whole or not there.

A folder holds ``run.json``, which says what was run, ``results.json`` and, for each policy and
seed, the course in quarter-hours (``optimal_0.nc``), its picture (``optimal_0.png``), and every
decision with its reasons (``optimal_0.decisions.json``). More policies of the same back-test may
join; another back-test may not.

JSON of a back-test's folder: read as what it must be, or refused in words.

What makes a back-test: everything that decides its results, but the policies.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypedDict, cast

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import TypeAdapter, ValidationError

from optimizer.backtesting.policy_run import PolicyRun
from optimizer.backtesting.results import BacktestResults
from optimizer.inputs.series_files import RunInputs
from optimizer.reporting.decision_record import DecisionRecord, backtest_decision_record
from optimizer.reporting.run_files import write_netcdf
from telemetry.files import write_json_atomic
from twin import plots, time_axes, units
from twin.errors import GigatwinError, ProblemError, StateError, ValidationIssue
from twin.site import Site
from twin.units import format_minute

RESULTS_FILE: Final = "results.json"

IDENTITY_FILE: Final = "run.json"
"""File that tells which back-test a folder holds."""

REQUIRED_VARIABLES: Final = ("grid_import_power", "facility_power", "electricity_price")
"""Words that every course has."""

EXPLAINED_VARIABLES: Final = (*REQUIRED_VARIABLES, "carbon_intensity")
"""Words of the interval asked for that an explanation shows, where they are known."""


class IdentityHeader(TypedDict):
    """What an identity of any age tells."""

    site: str


class BacktestIdentity(IdentityHeader):
    """What makes a back-test.

    Attributes
    ----------
    version
        :data:`IDENTITY_VERSION`.
    start, days, load_scale, seeds
        What was asked for.
    digests
        Of the declared site, of the jobs, and of each series by its word.
    """

    version: int
    start: str
    days: int
    load_scale: float
    seeds: int
    digests: dict[str, str]


def open_run_folder(folder: Path, identity: BacktestIdentity) -> None:
    """Make the folder of a back-test, or find that of the same one, perhaps of other policies.

    Parameters
    ----------
    folder
        Where results shall go.
    identity
        What makes the back-test.

    Raises
    ------
    ProblemError
        If the folder holds another back-test, one that does not tell what it is, or is a file.
    StateError
        If what the folder says of itself, or its results, are damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise _folder_conflict(folder, "is a file")
    path = folder / IDENTITY_FILE
    if path.exists():
        _check(folder, identity)
        read_results(folder)
    elif (folder / RESULTS_FILE).exists():
        raise _folder_conflict(
            folder, f"has {RESULTS_FILE}, and no {IDENTITY_FILE} that tells of what"
        )
    else:
        write_json_atomic(path, identity)


def _check(folder: Path, identity: BacktestIdentity) -> None:
    """Refuse a folder of another back-test, in words that say what differs."""
    path = folder / IDENTITY_FILE
    content = read_json_file(path)
    name = validated(content, IdentityHeader, path)["site"]
    version = content.get("version") if isinstance(content, dict) else None
    if version != IDENTITY_VERSION:
        by = "an earlier gigatwin, which did not tell its series, site file and seeds"
        if version is not None:
            by = (
                f"another gigatwin, in version {version} of {IDENTITY_FILE}; "
                f"this one has {IDENTITY_VERSION}"
            )
        raise _folder_conflict(folder, f"holds {name}, written by {by}")
    found = validated(content, BacktestIdentity, path)
    if others := list(describe_differences(found, identity)):
        held = f"holds another back-test of {name} from {found['start']}"
        raise _folder_conflict(folder, f"{held} ({'; '.join(others)})")


def _folder_conflict(folder: Path, what: str) -> ProblemError:
    remedy = "name a new folder, or remove this one"
    return ProblemError(
        "run", [ValidationIssue(location="--out", found=f"{folder} {what}", remedy=remedy)]
    )


def check_run_site(folder: Path, site: Site) -> None:
    """Refuse to explain one site by the run of another.

    Raises
    ------
    StateError
        If the folder holds another site's run, or its :data:`IDENTITY_FILE` is damaged.
    """
    path = folder / IDENTITY_FILE
    if not path.exists():
        return
    found = validated(read_json_file(path), IdentityHeader, path)
    if found["site"] != site.name:
        remedy = f"the run is of {found['site']}"
        raise StateError(
            "run", [ValidationIssue(location=str(folder), found=site.name, remedy=remedy)]
        )


def write_policy_run(folder: Path, site: Site, policy_run: PolicyRun) -> None:
    """Write a trial: its course, its picture, its decisions.

    Parameters
    ----------
    folder
        The folder of the back-test; made if it is not there.
    site
        The site.
    policy_run
        What was run.
    """
    stem = f"{policy_run.policy}_{policy_run.seed}"
    title = f"{site.name}, {policy_run.policy}, plant {policy_run.seed}"
    write_netcdf(folder / f"{stem}.nc", policy_run.trajectory, site=site.name, title=title)
    figure = plots.plot_run(policy_run.trajectory, site, title=f"{site.name}, {policy_run.policy}")
    draft = folder / f".{stem}.png"
    figure.savefig(draft, format="png")
    draft.replace(folder / f"{stem}.png")
    if policy_run.decisions:
        told = [backtest_decision_record(decision) for decision in policy_run.decisions]
        write_json_atomic(folder / f"{stem}.decisions.json", told)


def write_results(folder: Path, results: BacktestResults) -> BacktestResults:
    """Write the summary of a back-test, beside that of other policies that the folder has.

    Parameters
    ----------
    folder
        The folder, which holds nothing but this back-test: see :func:`open_folder`.
    results
        What was run now; it takes the place of what the same policies had.

    Returns
    -------
    BacktestResults
        All that the folder has now.
    """
    earlier = read_results(folder)
    whole = results if earlier is None else results.merged_with(earlier)
    write_json_atomic(folder / RESULTS_FILE, whole.as_json())
    return whole


def read_results(folder: Path) -> BacktestResults | None:
    """Return the summary that a folder has, or None.

    Raises
    ------
    StateError
        If it is damaged.
    """
    path = folder / RESULTS_FILE
    return validated(read_json_file(path), BacktestResults, path) if path.exists() else None


def read_backtest_decision(
    folder: Path, at: str | None = None, *, policy: str = "optimal", seed: int = 0
) -> DecisionRecord:
    """Return the decision that was in force at a moment.

    Parameters
    ----------
    folder
        What ``gigatwin backtest --out`` wrote.
    at
        The moment; the last decision if None.
    policy
        A policy that plans.
    seed
        Seed of the plant.

    Returns
    -------
    DecisionRecord
        Its accounts, binding limits, changes and what was degraded.

    Raises
    ------
    StateError
        If the folder holds no decisions, none that was in force then, or damaged ones.
    """
    path = folder / f"{policy}_{seed}.decisions.json"
    if not path.exists():
        remedy = f"run gigatwin backtest with --out and the policy {policy} first"
        if (folder / f"{policy}_{seed}.nc").exists():
            remedy = f"{policy} is a rule, and plans nothing: name a policy that plans, as optimal"
        raise StateError("run", [ValidationIssue(location=str(path), found="", remedy=remedy)])
    decisions, starts = _decisions(path)
    if at is None:
        return decisions[-1]
    moment = time_axes.to_utc(at)
    course = read_trajectory(folder, policy=policy, seed=seed)
    last = time_axes.to_utc(str(course["instant"].to_numpy()[-1]))
    if not starts[0] <= moment < last:
        remedy = (
            f"the run goes from {units.format_minute(starts[0])} to {units.format_minute(last)}"
        )
        raise StateError("run", [ValidationIssue(location="--at", found=at, remedy=remedy)])
    return decisions[int(np.searchsorted(starts, moment, side="right")) - 1]


def _decisions(path: Path) -> tuple[list[DecisionRecord], list[np.datetime64]]:
    """Return the decisions of a file with their starts; there is one at least."""
    content = read_json_file(path)
    validated(content, list[DecisionRecord], path)
    decisions = cast("list[DecisionRecord]", content)  # as read: a later gigatwin may tell more
    if not decisions:
        raise damaged_file(path, "no decision")
    try:
        return decisions, [time_axes.to_utc(decision["start"]) for decision in decisions]
    except GigatwinError as error:
        raise damaged_file(path, "a decision whose start is no moment") from error


def read_trajectory(folder: Path, *, policy: str = "optimal", seed: int = 0) -> xr.Dataset:
    """Return the course of a policy that a back-test wrote.

    Raises
    ------
    StateError
        If the folder holds none of it, or a damaged one.
    """
    path = folder / f"{policy}_{seed}.nc"
    if not path.exists():
        remedy = f"run gigatwin backtest with --out and the policy {policy} first"
        raise StateError("run", [ValidationIssue(location=str(path), found="", remedy=remedy)])
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            course = opened.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # what its library raises
        raise damaged_file(path, "cut short, or no NetCDF") from error
    if lost := [
        name for name in ("time", "instant", *REQUIRED_VARIABLES) if name not in course.variables
    ]:
        raise damaged_file(path, f"not what a back-test writes (without {', '.join(lost)})")
    return course


DAMAGED_FILE_REMEDY: Final = (
    "run gigatwin backtest again into a new folder, or bring the file back whole"
)
"""What to do about a file that is damaged."""


def read_json_file(path: Path) -> object:
    """Return what a file of JSON holds.

    Raises
    ------
    StateError
        If it is cut short, or no JSON.
    """
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bytes that are no text are a ValueError too
        raise damaged_file(path, f"cut short, or no JSON ({error})") from error
    return content


def validated[T](content: object, shape: type[T], path: Path) -> T:
    """Return what a file holds as the thing it must be.

    Parameters
    ----------
    content
        What was read.
    shape
        The thing, whose fields have types; what the file holds beside them is left out.
    path
        The file, for the error.

    Raises
    ------
    StateError
        If a field is missing, or of another type.
    """
    try:
        return TypeAdapter(shape).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise damaged_file(
            path, f"not what a back-test writes ({place}: {first['msg']})"
        ) from error


def damaged_file(path: Path, what: str) -> StateError:
    """Return the error of a file that a back-test did not leave so."""
    return StateError(
        "run", [ValidationIssue(location=str(path), found=what, remedy=DAMAGED_FILE_REMEDY)]
    )


IDENTITY_VERSION: Final = 3
"""Version of the identity: 1 had no version, seeds and digests; 2 older names in the site. [1]"""

SITE_DIGEST: Final = "declared site"
JOBS_DIGEST: Final = "jobs"
"""What is digested beside the words of the record."""

DIGEST_BYTES: Final = 16
"""Length of a digest. [B]"""

REQUESTED_VALUES: Final = {
    "start": "start {}",
    "days": "days {}",
    "load_scale": "load scale {:g}",
    "seeds": "seeds {}",
}
"""What is asked for on the command line -> its words."""


def build_identity(
    site: Site, inputs: RunInputs, *, load_scale: float, seeds: int
) -> BacktestIdentity:
    """Return what makes a back-test.

    Parameters
    ----------
    site
        The site as it is declared now, whatever its file was before.
    inputs
        What the files of the series hold; their names do not matter.
    load_scale
        Mean movable work. [1]
    seeds
        Number of plants. [1]
    """
    series = {**inputs.series.coords, **inputs.series.data_vars}
    return BacktestIdentity(
        version=IDENTITY_VERSION,
        site=site.name,
        start=format_minute(inputs.start),
        days=round((inputs.end - inputs.start) / np.timedelta64(1, "D")),
        load_scale=load_scale,
        seeds=seeds,
        digests={
            SITE_DIGEST: blake2b(repr(site).encode(), digest_size=DIGEST_BYTES).hexdigest(),
            JOBS_DIGEST: _digest_jobs(inputs.jobs),
            **{str(name): _digest([values]) for name, values in sorted(series.items(), key=str)},
        },
    )


def describe_differences(found: BacktestIdentity, wanted: BacktestIdentity) -> Iterator[str]:
    """Yield in words what one back-test has other than another; nothing if they are the same.

    Parameters
    ----------
    found
        That of a folder.
    wanted
        That which is asked for.
    """
    if found["site"] != wanted["site"]:
        yield f"site {found['site']}, not {wanted['site']}"
        return
    there: Mapping[str, object] = found
    here: Mapping[str, object] = wanted
    for key, form in REQUESTED_VALUES.items():
        if there[key] != here[key]:
            yield f"{form.format(there[key])}, not {here[key]}"
    names = sorted(found["digests"].keys() | wanted["digests"].keys())
    other = [
        name.replace("_", " ")
        for name in names
        if found["digests"].get(name) != wanted["digests"].get(name)
    ]
    if other:
        yield f"another content of {', '.join(other)}"


def _digest_jobs(jobs: pd.DataFrame) -> str:
    return _digest([jobs[name].to_xarray() for name in sorted(jobs.columns)])


def _digest(many: list[xr.DataArray]) -> str:
    """Return a short word for some values with their axes."""
    found = blake2b(digest_size=DIGEST_BYTES)
    for values in many:
        array = np.ascontiguousarray(values.to_numpy())
        plain = array.astype(str) if array.dtype == object else array
        found.update(f"{values.name} {values.dims} {plain.shape} {plain.dtype}".encode())
        found.update(plain.tobytes())
    return found.hexdigest()
