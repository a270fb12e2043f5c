"""The `gigatwin` command.

The root of the `gigatwin` command: its sub-commands, loaded when asked for, and its errors.
"""

import sys
from io import TextIOWrapper
from typing import Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from optimizer.module_loading import import_without_gc
from twin.errors import GigatwinError

__all__ = []

COMMANDS: Final = {
    "sites": "optimizer.cli.sites",
    "simulate": "optimizer.cli.simulate",
    "setpoints": "optimizer.cli.setpoints",
    "calibrate": "optimizer.cli.calibrate",
    "validate": "optimizer.cli.validate",
    "backtest": "optimizer.cli.backtest",
    "fleet": "optimizer.cli.fleet",
    "explain": "optimizer.cli.explain",
    "tariff": "optimizer.cli.tariff",
    "report": "optimizer.cli.report",
    "front": "optimizer.cli.front",
    "fit": "optimizer.cli.fit",
    "fetch": "optimizer.cli.fetch",
    "config": "optimizer.cli.run",
    "run": "optimizer.cli.run",
    "status": "optimizer.cli.status",
    "hold": "optimizer.cli.hold",
    "release": "optimizer.cli.hold",
    "archive": "optimizer.cli.archive",
    "replay": "optimizer.cli.replay",
    "telemetry": "optimizer.cli.telemetry",
    "demo": "optimizer.cli.demo",
    "plant": "optimizer.cli.plant",
}
"""Each sub-command and the module whose ``app`` it is; only the one asked for is imported."""


class CommandGroup(TyperGroup):
    """Sub-commands that start fast, and tell what a user did wrong in one block without a trace."""

    def list_commands(self, ctx: object) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """Return a sub-command from its module."""
        if cmd_name not in COMMANDS:
            return None
        made = typer.main.get_command(import_without_gc(COMMANDS[cmd_name]).app)
        command = cast("TyperCommand | TyperGroup", made)
        command.name = cmd_name
        return command

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # theirs is private
        """Run the sub-command asked for."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a terminal may lack letters that tables have
                stream.reconfigure(errors="replace")
        import_without_gc(
            "telemetry.logging"
        ).configure_logging()  # by itself a log goes where JSON may go
        try:
            return super().invoke(ctx)
        except GigatwinError as error:
            typer.echo(f"{type(error).__name__}: {error}", err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError:
            raise  # who reads has heard enough
        except OSError as error:
            typer.echo(f"cannot read or write: {error}; give another path", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    help="Energy- and carbon-aware power and cooling twin of AI gigafactories.",
)


@app.callback()
def main() -> None:
    """Energy- and carbon-aware power and cooling twin of AI gigafactories."""
