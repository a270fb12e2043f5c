"""`gigatwin release`: let the optimiser go on."""

import typer

from optimizer.cli.operate import Author, SiteName, StateFolder, author_of, expect_past, state_of
from optimizer.cli.show import JsonFile, console, write_json
from optimizer.service.holding import offline
from optimizer.service.holding.control import command, is_running

app = typer.Typer(add_completion=False, help="Let the optimiser go on after a HOLD.")


@app.command()
def release(
    site: SiteName,
    author: Author = "",
    state: StateFolder = None,
    json_file: JsonFile = None,
) -> None:
    """Let the optimiser go on from the next quarter-hour, at the ramp limit of the connection."""
    folder, who = state_of(site, state), author_of(author)
    held = offline.held(folder)
    if is_running(folder):
        was_held = bool(command(folder, "release", author=who)["was_held"])
    else:
        expect_past(folder)
        was_held = offline.release(folder, author=who)
    done = f"is released, by {who}" if was_held else "was not held; nothing is changed"
    if was_held and held and held.author != who:  # somebody may still be at the machine
        done += f"; it ended the HOLD of {held.author}: {held.reason}"
    console(json_file).print(f"{site} ({folder}) {done}", markup=False)
    told = {"site": site, "hold": False, "was_held": was_held, "author": who}
    told["ended"] = f"{held.author}: {held.reason}" if was_held and held else ""
    write_json(told, json_file)
