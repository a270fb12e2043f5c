"""How commands show what they found: tables for people, JSON for scripts."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Protocol

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.models import OptionInfo

from telemetry.files import is_stream, write_atomic
from twin.errors import ProblemError, ValidationIssue

PICTURES: Final = (".png", ".svg", ".pdf")
"""How the names of pictures may end."""


def _json_path(file: str | None) -> str | None:
    """Return where JSON goes, its folder made: what cannot be written is told before the work."""
    if file == "/dev/stdout":  # so that the table does not go there as well
        return "-"
    if file not in {None, "-"}:
        made_file(Path(str(file)), "--json", may_stream=True)
    return file


JsonFile = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the result as JSON; - is standard output.",
        callback=_json_path,
    ),
]
"""The option that every command has."""


def picture_option(words: str) -> OptionInfo:
    """Return the option of a file for a picture, looked at before the work is done.

    Parameters
    ----------
    words
        What the picture shows, for ``--help``.
    """

    def look(path: Path | None) -> Path | None:
        if path is not None and path.suffix.lower() not in PICTURES:
            mend = f"name a picture that ends in {', '.join(PICTURES)}"
            raise ProblemError(
                "command", [ValidationIssue(place="picture", value=str(path), mend=mend)]
            )
        return path and made_file(path, "picture")

    made: OptionInfo = typer.Option(help=words, callback=look)
    return made


def output_option(option: str, words: str, *, is_folder: bool = False) -> OptionInfo:
    """Return the option of a file or folder to be written, looked at before the work is done.

    Parameters
    ----------
    option
        Its name, as ``--markdown``.
    words
        What is written there, for ``--help``.
    is_folder
        Whether it is a folder; then it is made.
    """

    def look(path: Path | None) -> Path | None:
        if path is None or is_folder:
            return path and _folder(path, option)
        return made_file(path, option, may_stream=True)

    made: OptionInfo = typer.Option(option, help=words, callback=look)
    return made


def made_file(path: Path, place: str, *, may_stream: bool = False) -> Path:
    """Return the path of a file to be written, its folder made.

    Parameters
    ----------
    path
        The file.
    place
        The option that names it.
    may_stream
        Whether it is text, which a device or a pipe takes too.

    Raises
    ------
    ProblemError
        If it is a folder, a device that is not to be replaced, or its folder cannot be made.
    """
    if path.is_dir():
        mend = "is a folder; name a file"
        raise ProblemError("command", [ValidationIssue(place=place, value=str(path), mend=mend)])
    if is_stream(path) and not may_stream:
        mend = "is a device or a pipe; name a file"
        raise ProblemError("command", [ValidationIssue(place=place, value=str(path), mend=mend)])
    _folder(path.parent, place)
    return path


def _folder(path: Path, place: str) -> Path:
    """Return the path of a folder to be written to, made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        mend = f"no folder can be made there ({error.strerror}); name another"
        raise ProblemError(
            "command", [ValidationIssue(place=place, value=str(path), mend=mend)]
        ) from error
    return path


def name_synthetic(screen: Console, options: Mapping[str, object]) -> None:
    """Say which series are made by us, for want of a file.

    Parameters
    ----------
    screen
        Where it is said.
    options
        Name of the option, without dashes -> its file, or None.
    """
    for option, file in options.items():
        if file is None:
            screen.print(f"note: synthetic {option}; name your own with --{option} FILE")


def console(json_file: str | None = None) -> Console:
    """Return where tables go: standard output, or standard error if that is taken by JSON."""
    return Console(stderr=json_file == "-", highlight=False)


def table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table.

    Parameters
    ----------
    title
        Stands above it.
    *columns
        Headings.
    numbers
        Those of the columns that hold numbers; they are aligned at the right.

    Returns
    -------
    rich.table.Table
        Ready for rows.
    """
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        shown = escape(column)  # its unit stands in brackets
        made.add_column(shown, justify="right" if column in numbers else "left", overflow="fold")
    return made


def markdown_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
) -> str:
    """Return a table as Markdown; see :func:`table`."""
    marks = ["---:" if heading in numbers else "---" for heading in headings]
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, marks, *rows))


def counted(count: int, noun: str) -> str:
    """Return how many there are of something, in words: ``1 day``, ``7 days``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def whole(value: float) -> str:
    """Return a number without decimals: ``19,102``; what rounds to 0 has no sign."""
    return f"{round(value):,}"


class Read(Protocol):
    """Series that were read, and what is to be known of them."""

    @property
    def gaps(self) -> Sequence[str]:
        """What was filled, as texts."""

    @property
    def notes(self) -> Sequence[str]:
        """What was modelled, mapped or not read."""


def tell(screen: Console, read: Read) -> None:
    """Tell what was filled in the series of a site, modelled, or not read.

    Parameters
    ----------
    screen
        Where to.
    read
        What was read.
    """
    for gap in read.gaps:
        screen.print(f"filled: {gap}", markup=False)
    for note in read.notes:
        screen.print(f"note: {note}", markup=False)


def write_json(content: object, file: str | None) -> None:
    """Write a result for scripts; a file that is there stays whole until the new one is.

    Parameters
    ----------
    content
        What ``json`` can write.
    file
        Path, ``-`` for standard output, or None for nothing at all.
    """
    if file is None:
        return
    is_told = file == "-"  # in letters that every terminal and pipe has
    text = json.dumps(content, indent=2, ensure_ascii=is_told, allow_nan=False) + "\n"
    if is_told:
        sys.stdout.write(text)
        return
    path = Path(file)  # where a link to a file stands its file is written
    write_atomic(path if is_stream(path) else path.resolve(), text)
