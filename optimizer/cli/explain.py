"""`gigatwin explain`: the reasons of a decision."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import typer
from rich.console import Console

import sites
from optimizer.backtesting.run_folder import (
    EXPLAINED_VARIABLES,
    check_run_site,
    convert_run_folder,
    read_backtest_decision,
    read_trajectory,
)
from optimizer.cli.options import JsonFile, StateOption, resolve_state_folder
from optimizer.cli.output import console, option_error, table, write_json
from optimizer.planner.decision import EMPTY_DECISION, NO_PLAN_SOURCE, DecisionRecord
from optimizer.policies.policy import PLANNER_ALIAS
from optimizer.service.audit import AUDIT_FILE, AuditEvent, read_entries
from optimizer.service.state_folder import site_of_folder
from twin import time_axes, units, variables
from twin.errors import IssueCode, ProblemError, ServiceError

app = typer.Typer(add_completion=False, help="Show the reasons of a decision.")


@app.command()
def explain(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    run: Annotated[Path | None, typer.Option(help="Folder of a back-test.")] = None,
    at: Annotated[str | None, typer.Option(help="Time, UTC, whose quarter-hour is shown.")] = None,
    last: Annotated[bool, typer.Option("--last", help="The last decision (default).")] = False,
    policy: Annotated[str, typer.Option(help="Policy of a back-test.")] = PLANNER_ALIAS,
    seed: Annotated[int, typer.Option(min=0, help="Plant of a back-test.")] = 0,
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Show costs by account, binding limits with their prices, changes, and degradations."""
    if last and at is not None:
        raise option_error(
            "--at", at, expected="either a time or --last", remedy="omit one of the options"
        )
    screen = console(json_file)
    if run is not None:
        loaded = sites.load_site(site)
        check_run_site(run, loaded)
        for line in convert_run_folder(run, loaded):
            screen.print(line)
        record = read_backtest_decision(run, at, policy=policy, seed=seed)
        screen.print(f"{loaded.name}: decision of {record['start']}", style="bold")
        _show_step(screen, run, policy=policy, seed=seed, at=at or record["start"])
    else:
        folder = resolve_state_folder(site, state)
        record = read_service_decision(folder, at)
        _head(screen, record, site=site_of_folder(folder) or site, at=at)
    if record.get("source") != NO_PLAN_SOURCE:
        _show(screen, record)
    write_json(record, json_file)


def _show_step(screen: Console, run: Path, *, policy: str, seed: int, at: str) -> None:
    """Show what happened in the interval of a back-test."""
    step = read_trajectory(run, policy=policy, seed=seed).sel(
        time=time_axes.to_utc(at), method="pad"
    )
    (start,) = step["time"].to_numpy().reshape(1)
    screen.print(f"what happened in the quarter-hour of {units.format_minute(start)}:")
    for name in (name for name in EXPLAINED_VARIABLES if name in step):
        variable = variables.variable_definition(name)
        screen.print(
            f"  {variable.meaning}: {float(step[name]):.1f} {units.format_unit(variable.unit)}"
        )


def _head(screen: Console, record: DecisionRecord, *, site: str, at: str | None) -> None:
    """Print the quarter-hour of a service's decision, and whether it is the requested one."""
    start = record["start"]
    if at is not None and time_axes.to_utc(at) - time_axes.to_utc(start) >= time_axes.QUARTER_HOUR:
        text = f"nothing is recorded of the quarter-hour of {at}: this is the last before it"
        screen.print(text, style="red")
    for fault in record.get("record", []):
        screen.print(f"the record is damaged: {fault}", style="red")
    if record.get("source") == NO_PLAN_SOURCE:
        screen.print(f"{site}: no plan for the quarter-hour of {start}", style="bold")
        screen.print(f"because: {record['degraded']}", style="red")
        screen.print("caps were frozen or lowered, requests withdrawn")
        screen.print("give an earlier --at for a plan")
    else:
        screen.print(f"{site}: decision of {start}, {record.get('source')}", style="bold")


def _show(screen: Console, record: DecisionRecord) -> None:
    if record["accounts"]:
        _show_reasons(screen, record)
    else:
        screen.print(
            "made by a rule, which optimises no costs: no accounts and no prices of limits"
        )
    for failure in record.get("failures", []):
        screen.print(_describe_failure(failure))
    if record["degraded"]:
        screen.print(f"degraded: {record['degraded']}", style="red")


def _show_reasons(screen: Console, record: DecisionRecord) -> None:
    """Show costs, limits and changes of an optimised plan."""
    accounts = table("Over the horizon", "account", "EUR", numbers=["EUR"])
    for account, money in record["accounts"].items():
        accounts.add_row(account, f"{round(money) + 0:,}")
    for account in record.get("not_given", []):
        accounts.add_row(account, "not given")
    accounts.add_section()
    accounts.add_row("all", f"{round(sum(record['accounts'].values())) + 0:,}")
    screen.print(accounts)
    columns = ("limit", "between", "intervals", "one unit more, at most")
    binding = table("What binds", *columns, numbers=columns[2:])
    for limit in record["binding"]:
        between = f"{_without_year(limit['from'])} and {_without_year(limit['to'])}"
        row = limit["limit"], between, limit["intervals"], _price(limit)
        binding.add_row(*map(str, row))
    screen.print(binding)
    if record.get("doubtful"):
        limits = ", ".join(record["doubtful"])
        why = "its dual is not unique; gigatwin front computes its value"
        screen.print(f"- also binds: {limits} ({why})")
    for target in record.get("softened", []):
        screen.print(_describe_relaxed(target))
    changes = record["changes"] or ["no large change since the previous decision"]
    hedge = record["hedge"]["words"] if "hedge" in record else []
    for line in (*record.get("reserves", []), *record.get("units", []), *hedge, *changes):
        screen.print(f"- {line}")


def _describe_relaxed(row: Mapping[str, object]) -> str:
    """Return in words the deviation from a target, and its price; of a limit only the excess.

    Records of earlier versions have no ``penalty_eur``.
    """
    between = f"{_without_year(row['from'])} to {_without_year(row['to'])}"
    if row.get("penalty_eur"):
        sizes = (row[side] for side in ("above", "below"))
        excess = " and ".join(f"{size} {row['unit']}" for size in sizes if size)
        return f"- {row['target']}, {between}: limit exceeded by {excess}"
    sides = [f"{row[side]} {row['unit']} {side}" for side in ("above", "below") if row[side]]
    hard = ", which is not allowed" if row["is_hard"] else ""
    paid = f"{row['paid_eur']:,.0f} EUR"
    return f"- {row['target']}, {between}: {' and '.join(sides)}{hard}, penalty {paid}"


def _price(limit: Mapping[str, object]) -> str:
    """Return the value of one more unit of a limit; older records lack the unit."""
    unit = f"/{limit['unit']}" if "unit" in limit else " a unit"
    return f"{limit['price_eur']:,.2f} EUR{unit}"


def _describe_failure(row: Mapping[str, object]) -> str:
    """Return in words the time to a limit after a failure."""
    worst = f"{row['worst_limit']} after {row['worst_minutes']} min"
    return f"- if {row['failure']} fails at {_without_year(row['worst_time'])}: {worst}"


def _without_year(stamp: object) -> str:
    """Return a time without its year."""
    return str(stamp)[5:].replace("T", " ")


def read_service_decision(folder: Path, at: str | None = None) -> DecisionRecord:
    """Return the decision of a service in force at a time, or the entry of a missing plan.

    Raises ServiceError if the record has no decision at that time. Raises ProblemError if ``at`` is
    no time.

    - `folder`: state folder of the service.

    Returns
    -------
    DecisionRecord
        The decision; its key ``record`` names lines of the record that were edited, if any.
    """
    path = folder / AUDIT_FILE
    found: DecisionRecord | None = None
    last: np.datetime64 | None = None
    until = None if at is None else time_axes.to_utc(at)
    faults: list[str] = []
    own = ""
    for entry in read_entries(path) if path.exists() else ():
        faults += [entry.damage] if entry.damage else []
        start = _start(entry.content)
        if start is None:
            continue
        if until is not None and (start > until or (last is not None and start < last)):
            continue  # after a clock was set back, later entries stand before earlier ones
        found, last, own = (
            cast("DecisionRecord", {**EMPTY_DECISION, **entry.content}),
            start,
            entry.damage,
        )
    if found is None:
        raise ServiceError.single(
            "audit",
            IssueCode.MISSING,
            str(path),
            found=at or "",
            expected="a decision at that time",
            remedy="see gigatwin status, or name the folder with --state",
        )
    if faults:
        found["record"] = _describe_damage(faults, own)
    return found


def _describe_damage(faults: list[str], own: str) -> list[str]:
    """Describe which lines of a record were edited."""
    scope = f"that of this decision ({own}) among them" if own else "not that of this decision"
    text = f"lines that do not match their hashes: {len(faults)}, from {faults[0]} on, {scope}"
    return [f"{text}; compare with a backup, and check the disk and who may write to it"]


def _start(content: Mapping[str, object]) -> np.datetime64 | None:
    """Return the quarter-hour of an entry; None for another or incomplete entry."""
    start = content.get("start")
    is_complete = isinstance(start, str) and isinstance(content.get("degraded"), str)
    if content.get("event") not in {AuditEvent.DECISION, AuditEvent.NO_PLAN} or not is_complete:
        return None
    try:
        return time_axes.to_utc(str(start))
    except ProblemError:
        return None
