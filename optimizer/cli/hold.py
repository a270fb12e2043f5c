"""`gigatwin hold`: stop optimising at once. `gigatwin release`: resume it."""

from typing import Annotated

import typer

from optimizer.cli.options import (
    Author,
    JsonFile,
    SiteName,
    StateOption,
    require_initialised,
    resolve_author,
    resolve_state_folder,
)
from optimizer.cli.output import console, write_json
from optimizer.service import hold as service_hold
from optimizer.service.control_socket import (
    ServiceUnresponsiveError,
    is_service_running,
    send_command,
)
from twin.errors import IssueCode, ValidationIssue

app = typer.Typer(add_completion=False, help="Stop optimising: freeze caps, withdraw requests.")


@app.command()
def hold(
    site: SiteName,
    reason: Annotated[str, typer.Option(help="Reason, which is published and recorded.")],
    hours: Annotated[float | None, typer.Option(help="Hours; default: until release.")] = None,
    author: Author = "",
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Stop optimising: caps stay as they are, and the plant's own controls take over."""
    folder, who = resolve_state_folder(site, state), resolve_author(author)
    screen = console(json_file)
    note = ""
    if is_service_running(folder):
        try:
            note = str(send_command(folder, "hold", author=who, reason=reason, hours=hours)["said"])
        except ServiceUnresponsiveError as error:
            service_hold.place_offline(folder, author=who, reason=reason, hours=hours)
            issue = ValidationIssue(
                location=str(folder),
                found="",
                expected="the service does not answer; whether it holds now is unknown",
                remedy=(
                    "end it to be sure (systemctl stop "
                    f"gigatwin@{site}, or kill -9), and the plant's own controls take over; "
                    "otherwise it holds as soon as it answers, or at its next start"
                ),
                code=IssueCode.UNREACHABLE,
            )
            raise ServiceUnresponsiveError("hold", [issue]) from error
        end = f"for {hours:g} h" if hours is not None else "until it is released"
        screen.print(f"{site} ({folder}) holds, by {who}, {end}: {reason}", markup=False)
        if note:
            screen.print(note, markup=False)
    else:
        require_initialised(folder)
        service_hold.place_offline(folder, author=who, reason=reason, hours=hours)
        screen.print(f"no service of {site} runs on {folder}; it will start in HOLD", markup=False)
    result = {"site": site, "hold": True, "author": who, "reason": reason, "hours": hours}
    write_json(result | {"said": note}, json_file)


release_app = typer.Typer(add_completion=False, help="Resume optimising after a HOLD.")


@release_app.command()
def release(
    site: SiteName, author: Author = "", state: StateOption = None, json_file: JsonFile = None
) -> None:
    """Resume optimising from the next quarter-hour, at the ramp limit of the connection."""
    folder, who = resolve_state_folder(site, state), resolve_author(author)
    held = service_hold.read_offline(folder)
    if is_service_running(folder):
        was_held = bool(send_command(folder, "release", author=who)["was_held"])
    else:
        require_initialised(folder)
        was_held = service_hold.release_offline(folder, author=who)
    outcome = f"is released, by {who}" if was_held else "was not held; nothing is changed"
    if was_held and held and held.author != who:  # that person may still work on the machine
        outcome += f"; it ended the HOLD of {held.author}: {held.reason}"
    console(json_file).print(f"{site} ({folder}) {outcome}", markup=False)
    result = {"site": site, "hold": False, "was_held": was_held, "author": who}
    result["ended"] = f"{held.author}: {held.reason}" if was_held and held else ""
    write_json(result, json_file)
