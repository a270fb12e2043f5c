"""Output of commands: tables and progress for people, JSON for scripts."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from telemetry.durable_files import is_stream, write_atomic
from twin.errors import IssueCode, ProblemError, ValidationIssue

PROGRESS_LINE_INTERVALS: Final = 96
"""Quarter-hours between two lines of progress in a file. [1]"""


def option_error(
    location: str,
    found: str,
    *,
    expected: str,
    remedy: str,
    code: IssueCode = IssueCode.INCONSISTENT,
) -> ProblemError:
    """Return the error of a command whose option has an invalid value."""
    return ProblemError.single(
        "command", code, location, found=found, expected=expected, remedy=remedy
    )


def print_synthetic_series(screen: Console, options: Mapping[str, object]) -> None:
    """Print which of the options (name without dashes -> file or None) use synthetic series."""
    for option, file in options.items():
        if file is None:
            screen.print(f"note: synthetic {option}; name your own with --{option} FILE")


def console(json_file: str | None = None) -> Console:
    """Return the console of tables: standard output, or standard error if JSON goes there.

    Brackets, as of units, are no markup.
    """
    return Console(stderr=json_file == "-", highlight=False, markup=False)


def table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table; columns in `numbers` are aligned to the right."""
    created = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        created.add_column(
            column, justify="right" if column in numbers else "left", overflow="fold"
        )
    return created


def markdown_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
) -> str:
    """Return a table as Markdown; see :func:`table`."""
    marks = ["---:" if heading in numbers else "---" for heading in headings]
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, marks, *rows))


def pluralise(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 day``, ``7 days``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_integer(value: float) -> str:
    """Return a number without decimals: ``19,102``; a rounded 0 has no sign."""
    return f"{round(value):,}"


class HasSeriesNotes(Protocol):
    """Series with notes of their readers."""

    @property
    def gaps(self) -> Sequence[str]:
        """What was filled, as texts."""

    @property
    def notes(self) -> Sequence[str]:
        """What was modelled, mapped or not read, as texts."""


def print_series_notes(screen: Console, read: HasSeriesNotes) -> None:
    """Print what was filled, modelled or not read in the series of a site."""
    for gap in read.gaps:
        screen.print(f"filled: {gap}")
    for note in read.notes:
        screen.print(f"note: {note}")


def print_implausible_values(screen: Console, doubts: Iterable[ValidationIssue]) -> None:
    """Print implausible values before a run, which they do not prevent."""
    for doubt in doubts:
        screen.print(f"doubtful: {doubt}", soft_wrap=True, style="yellow")


def write_json(content: object, file: str | None, *, is_private: bool = False) -> None:
    """Write a result as JSON, atomically; a private file is readable by its owner only.

    `file` is a path, ``-`` for standard output, or None to write nothing.
    """
    if file is None:
        return
    is_stdout = file == "-"  # ASCII, which every terminal and pipe can show
    text = json.dumps(content, indent=2, ensure_ascii=is_stdout, allow_nan=False) + "\n"
    if is_stdout:
        sys.stdout.write(text)
        return
    path = Path(file)  # a link stays, and its target is written
    write_atomic(path if is_stream(path) else path.resolve(), text, is_private=is_private)


class ProgressBars:
    """Progress bars of runs in quarter-hours; a file gets one line per day instead."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} quarter-hours"),
            TimeRemainingColumn(),
            console=screen,
            disable=not screen.is_terminal,  # a file would only show their end
        )

    def __enter__(self) -> Self:
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the bars and leave them visible."""
        self._progress.stop()

    def update(self, run: str, done: int, total: int) -> None:
        """Show how many quarter-hours of a run are done."""
        if run not in self._tasks:
            self._tasks[run] = self._progress.add_task(run, total=total)
        self._progress.update(self._tasks[run], completed=done)
        if not self._screen.is_terminal and done % PROGRESS_LINE_INTERVALS == 0:
            self._screen.print(f"{run}: {done} of {total} quarter-hours")
