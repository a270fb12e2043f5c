"""`gigatwin events`: what happened at a site, from the audit record of its service.

`gigatwin audit`: whether that record was changed.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import typer
from rich.table import Table

import sites
from optimizer.cli.options import JsonFile, SiteName, StateOption, resolve_state_folder
from optimizer.cli.output import console, option_error, table, write_json
from optimizer.service.audit import AUDIT_FILE, GENESIS_HASH, check_record
from optimizer.service.events import EventGroup, EventKind, RecordedEvents, read_events
from telemetry.feed.signing import read_key_file, verify_signature
from telemetry.messages.feed_documents import read_schedule
from twin.errors import IssueCode, ProblemError, ServiceError, UnitError
from twin.time_axes import to_utc
from twin.units import format_second, parse_quantity

MOMENT_FORMS: Final = (
    'yesterday, today, now, a period before now ("2 h", "30 min"), a date or a time'
)
"""Accepted forms of a moment; a date and a time without an offset are in the site's zone."""

SUBJECT_WIDTH: Final = 20
"""Maximum width of the column of subjects, whose correlations are long. [1]"""

EVENT_STYLES: Final = {
    EventKind.ALARM: "red",
    EventKind.NO_PLAN: "red",
    EventKind.FALLBACK: "yellow",
    EventKind.REFUSAL: "yellow",
    EventKind.HOLD: "bold",
    EventKind.OVERRIDE: "bold",
    EventKind.RELEASE: "bold",
}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Check the audit record of a service.",
)


@app.callback()
def audit() -> None:
    """The audit record of a site's service: its decisions, orders and alarms, chained by hashes."""


@app.command()
def verify(
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    against: Annotated[
        Path | None,
        typer.Option(help="File of a signed schedule that a partner has kept, as received."),
    ] = None,
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Compare each line with its hash, and the record with a published schedule.

    A schedule contains the hash of the newest entry at its time. A record that was rewritten,
    or cut, no longer has that entry. The status is 1 if anything was changed.
    """
    folder = resolve_state_folder(site, state)
    path = _record_path(folder)
    anchor = GENESIS_HASH if against is None else _head_in(against, folder)
    found = check_record(path, anchor=anchor)
    is_unchanged = not found.damages and found.anchor_entries is not None
    screen = console(json_file)
    screen.print(f"{path}: {found.entries:,} entries, head {found.head}", soft_wrap=True)
    for place in found.damages:
        screen.print(f"{place} does not match its hash; compare with a backup", style="red")
    if against is not None and found.anchor_entries is None:
        text = f"no entry has the hash {anchor} of {against}: the record was changed or replaced"
        screen.print(
            f"{text}; look for {path.stem}.*.broken, and compare with a backup", style="red"
        )
    elif against is not None:
        screen.print(f"{found.anchor_entries:,} entries are those that {against} stands for")
    write_json(
        {
            "entries": found.entries,
            "head": found.head,
            "damages": list(found.damages),
            "anchor": None if against is None else anchor,
            "anchor_entries": None if against is None else found.anchor_entries,
        },
        json_file,
    )
    if not is_unchanged:
        raise typer.Exit(1)


def _record_path(folder: Path) -> Path:
    """Return the path of the audit record in a state folder, which must have one."""
    path = folder / AUDIT_FILE
    if not path.exists():
        raise ServiceError.single(
            "audit",
            IssueCode.MISSING,
            str(path),
            expected="the audit record of a service",
            remedy="name the state folder of the service with --state",
        )
    return path


def _head_in(path: Path, folder: Path) -> str:
    """Return the hash of the audit record in a schedule that the site's own keys have signed."""
    try:
        text = path.read_bytes().strip()
    except OSError as error:
        raise ServiceError.single(
            "--against",
            IssueCode.FILE_ERROR,
            str(path),
            found=str(error.strerror),
            expected="a signed schedule in compact form",
            remedy="name a file with the message as the partner received it",
        ) from error
    keys = read_key_file(folder / "keys" / "feed.jwks.json")
    head = read_schedule(verify_signature(text, keys))["meta"].get("audit_head")
    if head is None:
        raise ServiceError.single(
            "--against",
            IssueCode.MISSING,
            str(path),
            expected="a schedule with meta.audit_head, which earlier versions lack",
            remedy="name a later schedule",
        )
    return head


events_app = typer.Typer(add_completion=False, help="List what happened, oldest first.")


@events_app.command()
def events(
    site: SiteName,
    since: Annotated[
        str,
        typer.Option(help=f"Begin of the list: {MOMENT_FORMS}, in the site's zone or with offset."),
    ] = "yesterday",
    until: Annotated[str, typer.Option(help="End of the list, in the same forms.")] = "now",
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """List alarms, HOLDs and releases, schedules, fallbacks, refusals and targets in order of time.

    Times are in the site's zone. Plans that differ only in their revision share a line. The list
    comes from the audit record; a service need not run.
    """
    path = _record_path(resolve_state_folder(site, state))
    loaded = sites.load_site(site)
    zone = ZoneInfo(loaded.time_zone)
    now = datetime.now(UTC)
    begin, end = (
        _moment(text, option, now=now, zone=zone)
        for text, option in ((since, "--since"), (until, "--until"))
    )
    if end < begin:
        raise option_error(
            "--until",
            until,
            expected=f"a time after --since {since}",
            remedy="exchange the two, or omit --until",
        )
    found = read_events(path, since=begin, until=end)
    screen = console(json_file)
    screen.print(f"{loaded.name}, {_local(begin, zone)} to {_local(end, zone)}", style="bold")
    if found.events:
        screen.print(_event_table(found, zone))
    else:
        screen.print(f"nothing is recorded in this time; {_describe_newest(found, zone)}")
    for place in found.damages:
        text = f"{place} does not match its hash; run gigatwin audit verify {site}"
        screen.print(text, style="red", soft_wrap=True)
    content = {"site": loaded.name, "since": format_second(begin), "until": format_second(end)}
    rows = [event.as_json() for event in found.events]
    write_json(content | {"events": rows, "damages": list(found.damages)}, json_file)


def _moment(text: str, option: str, *, now: datetime, zone: ZoneInfo) -> np.datetime64:
    """Return the moment of an option, UTC. Raises ProblemError for a text of another form."""
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    word = text.strip().lower()
    try:
        if word in named:
            return to_utc(pd.Timestamp(named[word]))
        if word[4:5] == "-":
            local = pd.Timestamp(text)
            return to_utc(local if local.tzinfo else local.tz_localize(zone))
        hours = parse_quantity(word, "h")
        if hours >= 0.0:
            return to_utc(pd.Timestamp(now - timedelta(hours=hours)))
    except (ProblemError, UnitError, ValueError, OverflowError):
        pass
    raise option_error(
        option,
        text,
        expected=MOMENT_FORMS,
        remedy=f'write it as {option} yesterday, "2 h", 2026-06-16 or 2026-06-16T03:00+02:00',
        code=IssueCode.INVALID_FORMAT,
    )


def _local(moment: np.datetime64, zone: ZoneInfo) -> str:
    """Return a moment in a zone, as ``2026-06-16T03:00:00+02:00``, which every command reads."""
    return pd.Timestamp(moment).tz_localize("UTC").tz_convert(zone).isoformat(timespec="seconds")


def _event_table(found: RecordedEvents, zone: ZoneInfo) -> Table:
    """Return a table of events, without lines, so that it fits a narrow terminal.

    The first event of a day, and that after a change of clocks, has a row with date and offset.
    """
    shown = table("", "time", "kind", "subject", "what", "by")
    shown.box, shown.pad_edge = None, False
    shown.columns[2].max_width = SUBJECT_WIDTH
    heading = ""
    for group in found.groups():
        first = group.first
        day, clock, offset = _parts(first.time, zone)
        if (now := f"{day} {offset}") != heading:
            heading = now
            shown.add_row(day, offset, style="bold underline")
        subject = "" if first.kind.value == first.subject else first.subject
        row = clock, first.kind.value, subject, _describe(group, zone), first.author
        shown.add_row(*row, style=EVENT_STYLES.get(first.kind))
    return shown


def _parts(moment: np.datetime64, zone: ZoneInfo) -> tuple[str, str, str]:
    """Return date, time of day and offset of a moment in a zone."""
    text = _local(moment, zone)
    return text[:10], text[11:19], text[19:]


def _describe(group: EventGroup, zone: ZoneInfo) -> str:
    """Return what happened, how often, and the revisions of its schedules."""
    first, last = group.first, group.last
    text = first.text
    if last.revision is not None:
        several = f"revisions {first.revision} to {last.revision}"
        text += f", {several if first.revision != last.revision else f'revision {last.revision}'}"
    if group.count == 1:
        return text
    begin, end = _parts(first.time, zone), _parts(last.time, zone)
    until = end[1] if begin[0] == end[0] else f"{end[0]} {end[1]}"
    return f"{text}; {group.count} times until {until}"


def _describe_newest(found: RecordedEvents, zone: ZoneInfo) -> str:
    """Return where the record ends, and how to see that; a simulated clock has its own dates."""
    if found.newest is None:
        return "the record is empty"
    newest = _local(found.newest, zone)
    return f"its newest entry is of {newest}: name an earlier --since, or a later --until"
