"""`gigatwin hold`: stop optimising, at once."""

from typing import Annotated

import typer

from optimizer.cli.operate import Author, SiteName, StateFolder, author_of, expect_past, state_of
from optimizer.cli.show import JsonFile, console, write_json
from optimizer.service.holding import offline
from optimizer.service.holding.control import SilentError, command, is_running
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
    state: StateFolder = None,
    json_file: JsonFile = None,
) -> None:
    """Stop optimising: what runs goes on under its caps, the plant's own controls take over."""
    folder, who = state_of(site, state), author_of(author)
    screen = console(json_file)
    said = ""
    if is_running(folder):
        try:
            said = str(command(folder, "hold", author=who, reason=reason, hours=hours)["said"])
        except SilentError as error:
            offline.hold(folder, author=who, reason=reason, hours=hours)
            mend = (
                "the service does not answer: it holds as soon as it does, or when it is started "
                "again, but nobody knows whether it holds now; to be sure, end it (systemctl stop "
                f"gigatwin@{site}, or kill -9): the plant's own controls take over"
            )
            raise SilentError(
                "hold", [ValidationIssue(place=str(folder), value="", mend=mend)]
            ) from error
        end = f"for {hours:g} h" if hours is not None else "until it is released"
        screen.print(f"{site} ({folder}) holds, by {who}, {end}: {reason}", markup=False)
        if said:
            screen.print(said, markup=False)
    else:
        expect_past(folder)
        offline.hold(folder, author=who, reason=reason, hours=hours)
        screen.print(f"no service of {site} runs on {folder}; it will start in HOLD", markup=False)
    told = {"site": site, "hold": True, "author": who, "reason": reason, "hours": hours}
    write_json(told | {"said": said}, json_file)
