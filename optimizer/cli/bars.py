"""How far long runs are: a bar for each on a terminal, a line a day in a file."""

from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

DAY: Final = 96
"""Quarter-hours after which a file is told how far a run is. [1]"""


class Bars:
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

    def move(self, run: str, done: int, total: int) -> None:
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
        if not self._screen.is_terminal and done % DAY == 0:
            self._screen.print(f"{run}: {done} of {total} quarter-hours", markup=False)
