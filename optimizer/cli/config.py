"""`gigatwin config check`: whether a service would find all that it needs."""

from collections.abc import Iterable

import typer
from rich.markup import escape

from optimizer.cli.show import console, table
from optimizer.loading import load
from optimizer.service.preflight import Look

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Check what a service is told.")

CHECK = "--check"
"""Option of `gigatwin run` by which it looks, and starts nothing."""


@app.callback()
def config() -> None:
    """Check what a service is told."""


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def check(context: typer.Context) -> None:
    """Look at files, state, partners, page and broker as `gigatwin run` would; start nothing.

    Takes what `gigatwin run` takes, from the command line or the same variables.
    """
    command = typer.main.get_command(load("optimizer.cli.run").app)
    code = command.main([*context.args, CHECK], prog_name="gigatwin run", standalone_mode=False)
    raise typer.Exit(code or 0)


def show(looks: Iterable[Look]) -> bool:
    """Print what was looked at; return whether nothing is at fault."""
    screen, shown, is_fine = console(None), table("Configuration", "", "", "found"), True
    for look in looks:
        told = escape(look.fault or look.found)
        shown.add_row(look.what, "fault" if look.fault else "ok", told)
        is_fine &= not look.fault
    screen.print(shown)
    return is_fine
