"""How commands show what they found: tables for people, JSON for scripts.

How far long runs are: a bar for each on a terminal, a line a day in a file.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from telemetry.files import is_stream, write_atomic


def print_synthetic(screen: Console, options: Mapping[str, object]) -> None:
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


def pluralise(count: int, noun: str) -> str:
    """Return how many there are of something, in words: ``1 day``, ``7 days``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_integer(value: float) -> str:
    """Return a number without decimals: ``19,102``; what rounds to 0 has no sign."""
    return f"{round(value):,}"


class HasSeriesNotes(Protocol):
    """Series that were read, and what is to be known of them."""

    @property
    def gaps(self) -> Sequence[str]:
        """What was filled, as texts."""

    @property
    def notes(self) -> Sequence[str]:
        """What was modelled, mapped or not read."""


def print_series_notes(screen: Console, read: HasSeriesNotes) -> None:
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


INTERVALS_PER_DAY: Final = 96
"""Quarter-hours after which a file is told how far a run is. [1]"""


class ProgressBars:
    """Bars of runs by quarter-hours; shown while it is entered.

    Parameters
    ----------
    screen
        For people.
    """

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} quarter-hours"),
            TimeRemainingColumn(),
            console=screen,
            disable=not screen.is_terminal,  # in a file they would show at the end only
        )

    def __enter__(self) -> Self:
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """Leave them as they are."""
        self._progress.stop()

    def update(self, run: str, done: int, total: int) -> None:
        """Say how far a run is.

        Parameters
        ----------
        run
            Its name.
        done, total
            Quarter-hours. [1]
        """
        if run not in self._tasks:
            self._tasks[run] = self._progress.add_task(run, total=total)
        self._progress.update(self._tasks[run], completed=done)
        if not self._screen.is_terminal and done % INTERVALS_PER_DAY == 0:
            self._screen.print(f"{run}: {done} of {total} quarter-hours", markup=False)
