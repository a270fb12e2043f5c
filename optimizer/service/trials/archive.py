"""What a back-test leaves on disk, and how it is read again: every file whole or not there.

A folder holds ``run.json``, which says what was run, ``results.json`` and, for each policy and
seed, the course in quarter-hours (``optimal_0.nc``), its picture (``optimal_0.png``), and every
decision with its reasons (``optimal_0.decisions.json``). More policies of the same back-test may
join; another back-test may not.
"""

from pathlib import Path
from typing import Final, cast

import numpy as np
import xarray as xr

from optimizer.decision import Decision
from optimizer.service.decisions import Told
from optimizer.service.trials.identity import VERSION, Identity, Named, differences
from optimizer.service.trials.results import Results, write_netcdf
from optimizer.service.trials.shaped import damaged, read_json, shaped
from optimizer.service.trials.trial import Trial
from telemetry.files import write_json_atomic
from twin import plots, time_axes, units
from twin.errors import GigatwinError, ProblemError, StateError, ValidationIssue
from twin.site import Site

RESULTS: Final = "results.json"

IDENTITY: Final = "run.json"
"""File that tells which back-test a folder holds."""

TOLD: Final = ("grid_import_power", "facility_power", "electricity_price")
"""Words that every course has."""

SHOWN: Final = (*TOLD, "carbon_intensity")
"""Words of the interval asked for that an explanation shows, where they are known."""


def open_folder(folder: Path, identity: Identity) -> None:
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
        raise _in_use(folder, "is a file")
    path = folder / IDENTITY
    if path.exists():
        _check(folder, identity)
        read_results(folder)
    elif (folder / RESULTS).exists():
        raise _in_use(folder, f"has {RESULTS}, and no {IDENTITY} that tells of what")
    else:
        write_json_atomic(path, identity)


def _check(folder: Path, identity: Identity) -> None:
    """Refuse a folder of another back-test, in words that say what differs."""
    path = folder / IDENTITY
    content = read_json(path)
    name = shaped(content, Named, path)["site"]
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        by = "an earlier gigatwin, which did not tell its series, site file and seeds"
        if version is not None:
            by = f"another gigatwin, in version {version} of {IDENTITY}; this one has {VERSION}"
        raise _in_use(folder, f"holds {name}, written by {by}")
    found = shaped(content, Identity, path)
    if others := list(differences(found, identity)):
        held = f"holds another back-test of {name} from {found['start']}"
        raise _in_use(folder, f"{held} ({'; '.join(others)})")


def _in_use(folder: Path, what: str) -> ProblemError:
    mend = "name a new folder, or remove this one"
    return ProblemError(
        "run", [ValidationIssue(place="--out", value=f"{folder} {what}", mend=mend)]
    )


def check_site(folder: Path, site: Site) -> None:
    """Refuse to explain one site by the run of another.

    Raises
    ------
    StateError
        If the folder holds another site's run, or its :data:`IDENTITY` is damaged.
    """
    path = folder / IDENTITY
    if not path.exists():
        return
    found = shaped(read_json(path), Named, path)
    if found["site"] != site.name:
        mend = f"the run is of {found['site']}"
        raise StateError("run", [ValidationIssue(place=str(folder), value=site.name, mend=mend)])


def write_trial(folder: Path, site: Site, trial: Trial) -> None:
    """Write a trial: its course, its picture, its decisions.

    Parameters
    ----------
    folder
        The folder of the back-test; made if it is not there.
    site
        The site.
    trial
        What was run.
    """
    stem = f"{trial.policy}_{trial.seed}"
    title = f"{site.name}, {trial.policy}, plant {trial.seed}"
    write_netcdf(folder / f"{stem}.nc", trial.course, site=site.name, title=title)
    figure = plots.plot_run(trial.course, site, title=f"{site.name}, {trial.policy}")
    draft = folder / f".{stem}.png"
    figure.savefig(draft, format="png")
    draft.replace(folder / f"{stem}.png")
    if trial.decisions:
        told = [_told(decision) for decision in trial.decisions]
        write_json_atomic(folder / f"{stem}.decisions.json", told)


def write_results(folder: Path, results: Results) -> Results:
    """Write the summary of a back-test, beside that of other policies that the folder has.

    Parameters
    ----------
    folder
        The folder, which holds nothing but this back-test: see :func:`open_folder`.
    results
        What was run now; it takes the place of what the same policies had.

    Returns
    -------
    Results
        All that the folder has now.
    """
    earlier = read_results(folder)
    whole = results if earlier is None else results.after(earlier)
    write_json_atomic(folder / RESULTS, whole.as_json())
    return whole


def read_results(folder: Path) -> Results | None:
    """Return the summary that a folder has, or None.

    Raises
    ------
    StateError
        If it is damaged.
    """
    path = folder / RESULTS
    return shaped(read_json(path), Results, path) if path.exists() else None


def _told(decision: Decision) -> dict[str, object]:
    start = units.format_minute(decision.start)
    told: dict[str, object] = {"start": start, "attempts": decision.attempts}
    return told | decision.explanation.as_json()


def read_decision(
    folder: Path, at: str | None = None, *, policy: str = "optimal", seed: int = 0
) -> Told:
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
    Told
        Its accounts, binding limits, changes and what was degraded.

    Raises
    ------
    StateError
        If the folder holds no decisions, none that was in force then, or damaged ones.
    """
    path = folder / f"{policy}_{seed}.decisions.json"
    if not path.exists():
        mend = f"run gigatwin backtest with --out and the policy {policy} first"
        if (folder / f"{policy}_{seed}.nc").exists():
            mend = f"{policy} is a rule, and plans nothing: name a policy that plans, as optimal"
        raise StateError("run", [ValidationIssue(place=str(path), value="", mend=mend)])
    decisions, starts = _decisions(path)
    if at is None:
        return decisions[-1]
    moment = time_axes.to_utc(at)
    course = read_course(folder, policy=policy, seed=seed)
    last = time_axes.to_utc(str(course["instant"].to_numpy()[-1]))
    if not starts[0] <= moment < last:
        mend = f"the run goes from {units.format_minute(starts[0])} to {units.format_minute(last)}"
        raise StateError("run", [ValidationIssue(place="--at", value=at, mend=mend)])
    return decisions[int(np.searchsorted(starts, moment, side="right")) - 1]


def _decisions(path: Path) -> tuple[list[Told], list[np.datetime64]]:
    """Return the decisions of a file with their starts; there is one at least."""
    content = read_json(path)
    shaped(content, list[Told], path)
    decisions = cast("list[Told]", content)  # as read: a later gigatwin may tell more
    if not decisions:
        raise damaged(path, "no decision")
    try:
        return decisions, [time_axes.to_utc(decision["start"]) for decision in decisions]
    except GigatwinError as error:
        raise damaged(path, "a decision whose start is no moment") from error


def read_course(folder: Path, *, policy: str = "optimal", seed: int = 0) -> xr.Dataset:
    """Return the course of a policy that a back-test wrote.

    Raises
    ------
    StateError
        If the folder holds none of it, or a damaged one.
    """
    path = folder / f"{policy}_{seed}.nc"
    if not path.exists():
        mend = f"run gigatwin backtest with --out and the policy {policy} first"
        raise StateError("run", [ValidationIssue(place=str(path), value="", mend=mend)])
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            course = opened.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # what its library raises
        raise damaged(path, "cut short, or no NetCDF") from error
    if lost := [name for name in ("time", "instant", *TOLD) if name not in course.variables]:
        raise damaged(path, f"not what a back-test writes (without {', '.join(lost)})")
    return course
