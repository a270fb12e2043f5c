"""`gigatwin status`: the current state of a site's service."""

from collections.abc import Mapping

import typer
from rich.console import Console
from rich.markup import escape

from optimizer.cli.options import JsonFile, SiteName, StateOption, resolve_state_folder
from optimizer.cli.output import console, table, write_json
from optimizer.service.control_socket import is_service_running, send_command
from optimizer.service.hold_orders import read_offline
from optimizer.service.status import (
    Mode,
    StatusSnapshot,
    first_at,
    last_at,
    lookup,
    number_at,
    rows_at,
    state_label,
)
from twin.errors import IssueCode, ServiceError
from twin.text import format_duration

app = typer.Typer(add_completion=False, help="Show the current state of a site's service.")


@app.command()
def status(site: SiteName, state: StateOption = None, json_file: JsonFile = None) -> None:
    """Show what the service of a site does now, its reason, and what is wrong."""
    folder = resolve_state_folder(site, state)
    waiting = None if is_service_running(folder) else read_offline(folder)
    if waiting:
        by = "; ".join(f"{one.author}: {one.reason}" for one in waiting)
        raise ServiceError.single(
            "service",
            IssueCode.NOT_RUNNING,
            str(folder),
            expected="a running service",
            remedy=f"start it; its next start holds, by {by}",
        )
    answer = send_command(folder, "status")
    snapshot = answer["snapshot"]
    if isinstance(snapshot, Mapping):
        _show(console(json_file), snapshot, answer["missing"])
    write_json(snapshot, json_file)


def _show(screen: Console, snapshot: StatusSnapshot, missing: object) -> None:
    time = snapshot["time"] or "no time yet"
    screen.print(f"[bold]{snapshot['site']}[/]: {state_label(snapshot)} at {time}")
    rows = {
        "mode": _mode(snapshot),
        "plan": _plan(snapshot),
        "from the grid": _power(snapshot),
        "HOLD": _ended(snapshot),
        "reason": "" if lookup(snapshot, "ended") else lookup(snapshot, "decision", "reason"),
        "revision": lookup(snapshot, "decision", "revision"),
        "broker": lookup(snapshot, "broker", "trouble") or lookup(snapshot, "broker", "url"),
        "telemetry": _telemetry(snapshot),
        "first limit": _first_limit(snapshot),
    }
    shown = table("", "what", "now")
    for name, value in rows.items():
        if value:
            shown.add_row(name, escape(str(value)))
    for row in rows_at(snapshot, "holds"):
        shown.add_row(f"HOLD {row['number']}", escape(_hold(row)))
    for request in rows_at(snapshot, "asked"):
        shown.add_row(f"request of {request['partner']}", escape(str(request["words"])))
    for reading in rows_at(snapshot, "telemetry", "refused"):
        shown.add_row("refused reading", escape(_refusal(reading)))
    feed = snapshot["feed"]
    for partner in feed if isinstance(feed, list) else []:
        words = ": ".join(str(partner[name]) for name in ("state", "text") if partner[name])
        shown.add_row(f"feed to {partner['partner']}", escape(words))
    screen.print(shown)
    for text in missing if isinstance(missing, list) else []:
        screen.print(f"missing: {text}", style="red", markup=False)
    alarms = snapshot["alarms"]
    for alarm in alarms if isinstance(alarms, list) else []:
        words = f"{alarm['severity']}, {alarm['id']}: {alarm['text']} ({alarm['remedy']})"
        screen.print(words, style="yellow", markup=False)


def _mode(snapshot: StatusSnapshot) -> str:
    is_silent = snapshot["is_shadow"] and snapshot["mode"] != Mode.SHADOW
    shadow = " (shadow: nothing is ordered)" if is_silent else ""
    return f"{snapshot['mode']}{shadow}, {snapshot['clock']} clock, plant {snapshot['link']}"


def _refusal(reading: Mapping[str, object]) -> str:
    """Return in words an implausible reading; its topic ends with its point."""
    value = f"{reading['value']} {reading['unit']}".strip()
    return (
        f"{value} on {reading['topic']}, expected {reading['expected']}; {reading['count']} so far"
    )


def _plan(snapshot: StatusSnapshot) -> str:
    source, time = (lookup(snapshot, "decision", name) for name in ("source", "time"))
    return f"{source} of {time}" if source else "none yet"


def _power(snapshot: StatusSnapshot) -> str:
    """Return the net import: measured or last known, and planned, each with its quarter-hour."""
    age = number_at(snapshot, "last_known", "age_minutes")
    ended, begins = _time_at(-1, snapshot, "past"), _time_at(0, snapshot, "plan")
    known = (
        f"measured in the quarter-hour until {ended}"
        if age is None
        else f"last known {age:.0f} min before the plan"
    )
    measured = last_at(snapshot, "past", "grid_power")
    powers = {
        known: measured if age is None else number_at(snapshot, "last_known", "grid_power"),
        "planned for it" if age is None else f"planned until {ended}": last_at(
            snapshot, "past", "planned_power"
        ),
        f"planned from {begins}": first_at(snapshot, "plan", "grid_power"),
    }
    return ", ".join(f"{label} {mw:.2f} MW" for label, mw in powers.items() if mw is not None)


def _time_at(place: int, snapshot: StatusSnapshot, part: str) -> str:
    """Return a time of past or plan; "?" if there is none."""
    times = lookup(snapshot, part, "time")
    return str(times[place]) if isinstance(times, list) and times else "?"


def _hold(row: Mapping[str, object]) -> str:
    """Return in words who holds, since when, until when and why, in real time."""
    end = "until a person releases it"
    if row["until"]:
        end = (
            f"until {row['until']}"
            if row["is_self_ending"]
            else f"until {row['until']}, then {end}"
        )
    return f"by {row['author']} since {row['since']}, {end}: {row['reason']}"


def _ended(snapshot: StatusSnapshot) -> str:
    """Return in words that a HOLD has ended, until a decision follows it."""
    author, how, time = (lookup(snapshot, "ended", name) for name in ("author", "how", "time"))
    by = f" by {author}" if author else ""
    then = "planning resumes with the next quarter-hour; until then the plant controls itself"
    return f"that{by} ended at {time}: {how}; {then}" if how else ""


def _first_limit(snapshot: StatusSnapshot) -> str:
    """Return in words the worst single failure at present."""
    timed = [(number_at(row, "minutes"), row) for row in rows_at(snapshot, "failures", "rows")]
    reached = [(minutes, row) for minutes, row in timed if minutes is not None]
    if not reached:
        return "none after any single failure" if timed else ""
    minutes, row = min(reached, key=lambda pair: pair[0])
    return f"{minutes:.1f} min after {row['failure']} fails ({row['limit']})"


def _telemetry(snapshot: StatusSnapshot) -> str:
    age = number_at(snapshot, "data_age", "newest_s")
    count = lookup(snapshot, "telemetry", "messages")
    old = "" if age is None else format_duration(age)
    return f"{count} messages, the newest reading {old} old" if old else "none yet"
