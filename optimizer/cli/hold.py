"""`gigatwin hold`: stop optimising, at once.

`gigatwin release`: let the optimiser go on.
"""

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
from twin.errors import ValidationIssue

app = typer.Typer(add_completion=False, help="Stop optimising: freeze caps, withdraw requests.")


@app.command()
def hold(
    site: SiteName,
    reason: Annotated[str, typer.Option(help="Why; it is told on the feed and in the record.")],
    hours: Annotated[
        float | None, typer.Option(help="How long; without it, until gigatwin release.")
    ] = None,
    author: Author = "",
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Stop optimising: what runs goes on under its caps, the plant's own controls take over."""
    folder, who = resolve_state_folder(site, state), resolve_author(author)
    screen = console(json_file)
    said = ""
    if is_service_running(folder):
        try:
            said = str(send_command(folder, "hold", author=who, reason=reason, hours=hours)["said"])
        except ServiceUnresponsiveError as error:
            service_hold.place_offline(folder, author=who, reason=reason, hours=hours)
            remedy = (
                "the service does not answer: it holds as soon as it does, or when it is started "
                "again, but nobody knows whether it holds now; to be sure, end it (systemctl stop "
                f"gigatwin@{site}, or kill -9): the plant's own controls take over"
            )
            raise ServiceUnresponsiveError(
                "hold", [ValidationIssue(location=str(folder), found="", remedy=remedy)]
            ) from error
        end = f"for {hours:g} h" if hours is not None else "until it is released"
        screen.print(f"{site} ({folder}) holds, by {who}, {end}: {reason}", markup=False)
        if said:
            screen.print(said, markup=False)
    else:
        require_initialised(folder)
        service_hold.place_offline(folder, author=who, reason=reason, hours=hours)
        screen.print(f"no service of {site} runs on {folder}; it will start in HOLD", markup=False)
    told = {"site": site, "hold": True, "author": who, "reason": reason, "hours": hours}
    write_json(told | {"said": said}, json_file)


release_app = typer.Typer(add_completion=False, help="Let the optimiser go on after a HOLD.")


@release_app.command()
def release(
    site: SiteName,
    author: Author = "",
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Let the optimiser go on from the next quarter-hour, at the ramp limit of the connection."""
    folder, who = resolve_state_folder(site, state), resolve_author(author)
    held = service_hold.read_offline(folder)
    if is_service_running(folder):
        was_held = bool(send_command(folder, "release", author=who)["was_held"])
    else:
        require_initialised(folder)
        was_held = service_hold.release_offline(folder, author=who)
    done = f"is released, by {who}" if was_held else "was not held; nothing is changed"
    if was_held and held and held.author != who:  # somebody may still be at the machine
        done += f"; it ended the HOLD of {held.author}: {held.reason}"
    console(json_file).print(f"{site} ({folder}) {done}", markup=False)
    told = {"site": site, "hold": False, "was_held": was_held, "author": who}
    told["ended"] = f"{held.author}: {held.reason}" if was_held and held else ""
    write_json(told, json_file)
