"""`gigatwin audit`: whether the audit record of a service was changed."""

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import JsonFile, StateOption, resolve_state_folder
from optimizer.cli.output import console, write_json
from optimizer.service.audit import AUDIT_FILE, GENESIS_HASH, check_record
from telemetry.feed.signing import read_key_file, verify_signature
from telemetry.messages.feed_documents import read_schedule
from twin.errors import IssueCode, ServiceError

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
    path = folder / AUDIT_FILE
    if not path.exists():
        raise ServiceError.single(
            "audit",
            IssueCode.MISSING,
            str(path),
            expected="the audit record of a service",
            remedy="name the state folder of the service with --state",
        )
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
