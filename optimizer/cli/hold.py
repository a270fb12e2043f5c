"""`gigatwin hold`: stop optimising, at once."""

import time
from typing import Annotated

import typer

from optimizer.cli.operate import Author, SiteName, StateFolder, author_of, expect_past, state_of
from optimizer.cli.show import JsonFile, console, write_json
from optimizer.service.control import command, is_running
from optimizer.service.overrides import Overrides

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
    if is_running(folder):
        command(folder, "hold", author=who, reason=reason, hours=hours)
        screen.print(f"{site} ({folder}) holds, by {who}: {reason}", markup=False)
    else:
        expect_past(folder)
        overrides = Overrides(folder / "hold.json")
        overrides.set_hold(author=who, reason=reason, hours=hours, now=time.time())
        overrides.must_be_kept()
        screen.print(f"no service of {site} runs on {folder}; it will start in HOLD", markup=False)
    write_json({"site": site, "hold": True, "author": who, "reason": reason}, json_file)
