"""`gigatwin status`: the current state of a site's service."""

import typer
from rich.console import Console

from optimizer.cli.options import JsonFile, SiteName, StateOption, resolve_state_folder
from optimizer.cli.output import console, table, write_json
from optimizer.service.control_socket import is_service_running, send_command
from optimizer.service.hold import HoldStatus
from optimizer.service.hold_register import StoredHolds
from optimizer.service.status import (
    EndedHold,
    FailuresStatus,
    Mode,
    RefusedReadingStatus,
    ServiceStatus,
    read_status,
    state_label,
)
from twin.errors import IssueCode, ServiceError
from twin.text import format_duration

app = typer.Typer(add_completion=False, help="Show the current state of a site's service.")


@app.command()
def status(site: SiteName, state: StateOption = None, json_file: JsonFile = None) -> None:
    """Show what the service of a site does now, its reason, and what is wrong."""
    folder = resolve_state_folder(site, state)
    waiting = None if is_service_running(folder) else StoredHolds(folder).in_force()
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
    write_json(answer["snapshot"], json_file)
    _show(console(json_file), read_status(answer["snapshot"]), answer["missing"])


def _show(screen: Console, status: ServiceStatus, missing: object) -> None:
    time = status.time or "no time yet"
    screen.print(f"{status.site}: {state_label(status)} at {time}", style="bold")
    decision, broker = status.decision, status.broker
    rows = {
        "mode": _mode(status),
        "plan": f"{decision.source} of {decision.time}" if decision else "none yet",
        "from the grid": _power(status),
        "HOLD": _ended(status.ended),
        "reason": decision.reason if decision and not status.ended else "",
        "revision": decision.revision if decision else "",
        "broker": broker.trouble or broker.url,
        "telemetry": _telemetry(status),
        "first limit": _first_limit(status.failures),
    }
    shown = table("", "what", "now")
    for name, value in rows.items():
        if value:
            shown.add_row(name, str(value))
    for hold in status.holds:
        shown.add_row(f"HOLD {hold.number}", _hold(hold))
    for request in status.asked:
        shown.add_row(f"request of {request.partner}", request.words)
    for reading in status.telemetry.refused:
        shown.add_row("refused reading", _refusal(reading))
    for partner in status.feed:
        words = ": ".join(filter(None, (partner.state, partner.text)))
        shown.add_row(f"feed to {partner.partner}", words)
    screen.print(shown)
    for text in missing if isinstance(missing, list) else []:
        screen.print(f"missing: {text}", style="red")
    for alarm in status.alarms:
        words = f"{alarm.severity}, {alarm.id}: {alarm.text} ({alarm.remedy})"
        words += f"; otherwise {alarm.consequence}" if alarm.consequence else ""
        screen.print(words, style="yellow")


def _mode(status: ServiceStatus) -> str:
    is_silent = status.is_shadow and status.mode is not Mode.SHADOW
    shadow = " (shadow: nothing is ordered)" if is_silent else ""
    return f"{status.mode}{shadow}, {status.clock} clock, plant {status.link}"


def _refusal(reading: RefusedReadingStatus) -> str:
    """Return in words an implausible reading; its topic ends with its point."""
    value = f"{reading.value} {reading.unit}".strip()
    return f"{value} on {reading.topic}, expected {reading.expected}; {reading.count} so far"


def _power(status: ServiceStatus) -> str:
    """Return the net import: measured or last known, and planned, each with its quarter-hour."""
    past, plan, known = status.past, status.plan, status.last_known
    ended = past.time[-1] if past.time else "?"
    planned = past.planned_power[-1] if past.planned_power else None
    powers: dict[str, float | None]
    if known is None:
        measured = past.grid_power[-1] if past.grid_power else None
        powers = {
            f"measured in the quarter-hour until {ended}": measured,
            "planned for it": planned,
        }
    else:
        age = f"{known.age_minutes or 0.0:.0f} min"
        powers = {
            f"last known {age} before the plan": known.grid_power,
            f"planned until {ended}": planned,
        }
    if plan and plan.grid_power:
        powers[f"planned from {plan.time[0]}"] = plan.grid_power[0]
    return ", ".join(f"{label} {mw:.2f} MW" for label, mw in powers.items() if mw is not None)


def _hold(hold: HoldStatus) -> str:
    """Return in words who holds, since when, until when and why, in real time."""
    end = "until a person releases it"
    if hold.until:
        end = f"until {hold.until}" if hold.is_self_ending else f"until {hold.until}, then {end}"
    return f"by {hold.author} since {hold.since}, {end}: {hold.reason}"


def _ended(ended: EndedHold | None) -> str:
    """Return in words that a HOLD has ended, until a decision follows it."""
    if ended is None:
        return ""
    by = f" by {ended.author}" if ended.author else ""
    then = "planning resumes with the next quarter-hour; until then the plant controls itself"
    return f"that{by} ended at {ended.time}: {ended.how}; {then}"


def _first_limit(failures: FailuresStatus | None) -> str:
    """Return in words the worst single failure at present."""
    if failures is None or not failures.rows:
        return ""
    reached = [(row.minutes, row) for row in failures.rows if row.minutes is not None]
    if not reached:
        return "none after any single failure"
    minutes, row = min(reached, key=lambda pair: pair[0])
    return f"{minutes:.1f} min after {row.failure} fails ({row.limit})"


def _telemetry(status: ServiceStatus) -> str:
    age = status.data_age.newest_s
    if age is None:
        return "none yet"
    return f"{status.telemetry.messages} messages, the newest reading {format_duration(age)} old"
