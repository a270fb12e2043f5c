"""Pages of the commands, from the command line's own help."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from docs.generators.markdown import table, toctree
from optimizer.cli import app

FOLDER = "reference/commands"


@dataclass(frozen=True)
class Command:
    """One command with its full name, such as ``sites check``."""

    name: str
    command: Any

    @property
    def page(self) -> str:
        """Name of the page."""
        return self.name.replace(" ", "-")

    @property
    def summary(self) -> str:
        """First paragraph of the help."""
        return " ".join((self.command.help or "").split("\n\n")[0].split())

    @property
    def parameters(self) -> list[Any]:
        """Arguments and options that the help shows."""
        return [one for one in self.command.params if not one.hidden]


def commands() -> list[Command]:
    """Return every command that runs; a group such as ``sites`` is its commands."""
    root = typer.main.get_command(app)
    return list(
        _commands("", {name: root.get_command(None, name) for name in root.list_commands(None)})
    )


def _commands(prefix: str, members: Mapping[str, Any]) -> Iterator[Command]:
    for name, one in members.items():
        full = f"{prefix} {name}".strip()
        inner = getattr(one, "commands", None)
        if inner:
            yield from _commands(full, inner)
        else:
            yield Command(full, one)


def pages() -> dict[str, str]:
    """Return a page for each command, and their index."""
    found = commands()
    rows = [[f"[gigatwin {one.name}]({one.page}.md)", one.summary] for one in found]
    index = (
        "# Commands\n\n"
        "`gigatwin COMMAND --help` prints what these pages say. Commands with `--json FILE` write "
        "their result as JSON; `-` is standard output. A command ends with status 0 if it did its "
        "work, 1 on an error of input or a failed check, and 2 on an unknown option. "
        "`gigatwin --version` prints the versions of gigatwin, Python and the solver.\n\n"
        + table(["command", "what it does"], rows)
        + "\n"
        + toctree(one.page for one in found)
    )
    return {f"{FOLDER}/index.md": index} | {f"{FOLDER}/{one.page}.md": _page(one) for one in found}


def _page(one: Command) -> str:
    arguments = [each for each in one.parameters if each.param_type_name == "argument"]
    options = [each for each in one.parameters if each.param_type_name == "option"]
    words = [_usage(each) for each in arguments] + (["[OPTIONS]"] if options else [])
    parts = [f"# gigatwin {one.name}\n", f"```text\ngigatwin {one.name} {' '.join(words)}\n```\n"]
    parts += [one.command.help or "", ""]
    if arguments:
        parts += ["## Arguments\n", _rows(arguments, one)]
    if options:
        parts += ["## Options\n", _rows(options, one)]
    return "\n".join(parts)


def _usage(argument: Any) -> str:
    word = (argument.metavar or argument.name.upper()).strip("[]")
    word += "..." if argument.nargs == -1 else ""
    return word if argument.required else f"[{word}]"


def _rows(parameters: list[Any], one: Command) -> str:
    context = typer.Context(one.command, info_name=one.name)
    return table(
        ["name", "meaning"],
        [[_name(each, context), f"{each.help or ''} {_default(each)}"] for each in parameters],
    )


def _name(parameter: Any, context: typer.Context) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_usage(parameter)}`"
    words = ", ".join([*parameter.opts, *parameter.secondary_opts])
    is_flag = getattr(parameter, "is_flag", False)
    return f"`{words}`" if is_flag else f"`{words} {parameter.display_type_rich(ctx=context)}`"


def _default(parameter: Any) -> str:
    """Return the default as a sentence."""
    value = parameter.default
    if parameter.required:
        return "Required."
    if value is None or value == () or callable(value) or isinstance(value, bool):
        return ""
    values = value if isinstance(value, list | tuple) else [value]
    return f"Default: {', '.join(f'`{getattr(one, "value", one)}`' for one in values)}."
