"""What a benchmark is: our way and the limit's, each measured in a process of its own.

To add one: write a module with `BENCHES`, name it in `GROUPS` of `benchmarks/__main__.py`.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.process_memory import held_mb


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run may write: a folder that is empty before and removed after it.

    ``export`` is where models go that somebody wants to solve with other programs, if anybody does.
    """

    scratch: Path
    export: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one run of one way gave.

    Attributes
    ----------
    value
        What the row is about, in the unit of its bench.
    figures
        Results that both ways must have alike: what proves that the limit is of the same work.
    cost
        What the ratio compares, if not ``value``: less is better.
    """

    value: float
    figures: dict[str, float] = field(default_factory=dict)
    cost: float | None = None


type Way = Callable[[Place], Measured]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A row of the table.

    Attributes
    ----------
    name
        Group and name, as ``twin.site_year``.
    unit
        Of its value.
    ours, limit
        The two ways; the limit is left out where there is none.
    runs
        Runs of each way, taken in turns; medians are reported.
    tolerance
        Greatest relative difference of figures. [1]
    note
        What is measured, and what is not.
    """

    name: str
    unit: str
    ours: Way
    limit: Way | None = None
    runs: int = 3
    tolerance: float = 1e-6
    note: str = ""


class Clock:
    """Seconds of the processors that the work inside took, its threads and ended children too.

    May be entered again: pieces of work add up.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> "Clock":
        self._before = _used()
        return self

    def __exit__(self, *_error: object) -> None:
        self.seconds += _used() - self._before


cpu = Clock
"""`with cpu() as clock:` measures; `clock.seconds` is what it took."""


def _used() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def peak_mb() -> float:
    """Return the most memory that this process ever held. [MB]"""
    most = held_mb("VmHWM")  # ru_maxrss would remember the parent's
    return most or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
