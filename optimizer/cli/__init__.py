"""The `gigatwin` command: its sub-commands, imported when needed, and its error messages."""

import platform
import sys
from importlib import metadata
from io import TextIOWrapper
from typing import Annotated, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from optimizer.module_loading import import_without_gc
from twin.errors import GigatwinError

__all__ = []

COMMANDS: Final = {
    "sites": "optimizer.cli.sites:app",
    "simulate": "optimizer.cli.simulate:app",
    "setpoints": "optimizer.cli.setpoints:app",
    "calibrate": "optimizer.cli.calibrate:app",
    "validate": "optimizer.cli.validate:app",
    "backtest": "optimizer.cli.backtest:app",
    "fleet": "optimizer.cli.fleet:app",
    "explain": "optimizer.cli.explain:app",
    "events": "optimizer.cli.audit:events_app",
    "audit": "optimizer.cli.audit:app",
    "tariff": "optimizer.cli.tariff:app",
    "report": "optimizer.cli.report:app",
    "front": "optimizer.cli.pareto_front:app",
    "size": "optimizer.cli.size:app",
    "fit": "optimizer.cli.fit_throughput:fit_app",
    "fetch": "optimizer.cli.fetch:app",
    "config": "optimizer.cli.run:config_app",
    "run": "optimizer.cli.run:app",
    "status": "optimizer.cli.status:app",
    "hold": "optimizer.cli.hold:app",
    "release": "optimizer.cli.hold:release_app",
    "operators": "optimizer.cli.hold:operators_app",
    "archive": "optimizer.cli.archive:app",
    "replay": "optimizer.cli.archive:replay_app",
    "telemetry": "optimizer.cli.telemetry:app",
    "demo": "optimizer.cli.demo:app",
    "plant": "optimizer.cli.plant:app",
}
"""Sub-command -> ``module:app``; only the module of the requested one is imported."""


class CommandGroup(TyperGroup):
    """Sub-commands that start fast and report a user's errors in one block without a traceback."""

    def list_commands(self, ctx: object) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """Return a sub-command from its module."""
        if cmd_name not in COMMANDS:
            return None
        module, _, app_name = COMMANDS[cmd_name].partition(":")
        loaded = typer.main.get_command(getattr(import_without_gc(module), app_name))
        command = cast("TyperCommand | TyperGroup", loaded)
        command.name = cmd_name
        return command

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # theirs is private
        """Run the requested sub-command."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a terminal may lack characters of tables
                stream.reconfigure(errors="replace")
        # unconfigured logs would go to standard output, where JSON may go
        import_without_gc("telemetry.runtime").configure_logging()
        try:
            return super().invoke(ctx)
        except GigatwinError as error:
            typer.echo(f"{type(error).__name__}: {error}", err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError:
            raise  # the reader has closed the pipe
        except OSError as error:
            typer.echo(f"cannot read or write: {error}; give another path", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    help="Energy- and carbon-aware digital twin and scheduler for AI data centres.",
)


def _print_versions(is_given: bool) -> None:
    """Print the versions in one line and end, if they are requested."""
    if is_given:
        own, solver = (metadata.version(name) for name in ("gigatwin", "highspy"))
        typer.echo(f"gigatwin {own}, Python {platform.python_version()}, HiGHS {solver}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_versions,
            is_eager=True,
            help="Print the versions of gigatwin, Python and the solver, and end.",
        ),
    ] = False,
) -> None:
    """Energy- and carbon-aware digital twin and scheduler for AI data centres."""
