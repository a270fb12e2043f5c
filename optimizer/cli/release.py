"""`gigatwin release`: let the optimiser go on."""

import typer

from optimizer.cli.operate import Author, SiteName, StateFolder, author_of, state_of
from optimizer.cli.show import JsonFile, console, write_json
from optimizer.service.control import command, is_running
from optimizer.service.overrides import Overrides

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
    if is_running(folder):
        command(folder, "release", author=who)
    else:
        overrides = Overrides(folder / "hold.json")
        overrides.release()
        overrides.must_be_kept()
    console(json_file).print(f"{site} is released, by {who}", markup=False)
    write_json({"site": site, "hold": False, "author": who}, json_file)
