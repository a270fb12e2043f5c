"""What is ordered of a plant, and what a file says was ordered last."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NotRequired, TypedDict, cast

import numpy as np
import structlog

from telemetry.durable import read_sealed
from twin.run import Key

HIGHEST: Final = 2**52
"""Highest sequence believed of a file: the wire takes twice as much. [1]"""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What shall be done.

    Attributes
    ----------
    jobs
        Number of each job that runs -> its cap. [1]
    halls
        Hall -> greatest power. [MW]
    without
        Hall -> racks that this does not apply to.
    requests
        (word, object) -> value of a set point, in the word's unit.
    """

    jobs: Mapping[int, float] = field(default_factory=dict)
    halls: Mapping[str, float] = field(default_factory=dict)
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    requests: Mapping[Key, float] = field(default_factory=dict)


class _Kept(TypedDict):
    """What the file says."""

    jobs: dict[str, float]
    halls: dict[str, float]
    sequence: int
    without: NotRequired[dict[str, list[str]]]
    issued: NotRequired[str | None]


def eased_orders(last: Wanted, eased: Wanted) -> Wanted:
    """Return the lower of two sets of caps: a job that is in one only does not run."""
    jobs = {job: min(cap, eased.jobs[job]) for job, cap in last.jobs.items() if job in eased.jobs}
    halls = {hall: min(cap, eased.halls.get(hall, cap)) for hall, cap in last.halls.items()}
    return Wanted(jobs=jobs, halls=halls, without=eased.without)


def read_orders(path: Path) -> tuple[Wanted | None, int, np.datetime64 | None]:
    """Return what a file says was ordered last, its sequence, and when; nothing if there is none.

    Files of older versions do not say when.
    """
    try:
        kept = cast("_Kept", read_sealed(path))
        jobs, without = dict(_pairs(kept["jobs"])), kept.get("without", {})
        wanted = Wanted(
            jobs={int(number): cap for number, cap in jobs.items()},
            halls=dict(_pairs(kept["halls"])),
            without={str(hall): tuple(map(str, racks)) for hall, racks in without.items()},
        )
        issued = kept.get("issued")
        at = None if issued is None else np.datetime64(str(issued), "us")
        return wanted, min(int(kept["sequence"]), HIGHEST), at
    except FileNotFoundError:
        return None, 0, None
    except Exception as error:  # whatever stands there, it is no order of ours
        logger.warning("last orders unreadable", file=path.name, because=str(error))
        return None, 0, None


def _pairs(table: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    for name, value in table.items():
        if not 0.0 <= float(value) < np.inf:
            raise ValueError(name)
        yield name, float(value)
