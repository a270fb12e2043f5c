"""Where the values of a site's points are kept: one place for each variable and object.

Raw arrays; Datasets are built only when somebody asks.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.metadata.listing import list_points
from telemetry.metadata.points import RACK
from telemetry.samples import microseconds
from twin.physics import FloatArray
from twin.run import Key
from twin.simulation import DIMENSIONS
from twin.site import Site

NEVER: Final = np.iinfo(np.int64).min
"""Time of a value that never came. [us]"""

_SECOND: Final = 1e6  # us
_MICROSECOND: Final = np.timedelta64(1, "us")

_SINGLE: Final = ("", "grid")
"""Kinds whose variables have no axis of machines."""


def age_of(times: NDArray[np.int64], now: np.datetime64, *, ahead: np.timedelta64) -> FloatArray:
    """Return how old stamps are, infinite for what never came or is of the future. [s]

    Parameters
    ----------
    times
        Stamps. [us since 1970]
    now, ahead
        The moment, UTC, and how far ahead of it a stamp may be: one that is more is of a clock
        that was set back.
    """
    age = (microseconds(now) - times.astype(np.float64)) / _SECOND
    age[(times == NEVER) | (age < -float(ahead / np.timedelta64(1, "s")))] = np.inf
    return age


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One variable: its axis, its labels, and where their slots lie.

    Attributes
    ----------
    variable
        Word of the vocabulary.
    dim
        Its axis, or "" for one number.
    labels
        Machines or racks.
    first, counts
        First slot, and number of slots of each label: a bank has one for each unit.
    sign
        0 for a plain value; 1 and -1 for the two directions of one meter.
    """

    variable: str
    dim: str
    labels: tuple[str, ...]
    first: int
    counts: tuple[int, ...]
    sign: float = 0.0

    def pick(self, values: FloatArray) -> FloatArray:
        """Return the values of the labels, slots being the last axis; banks by their mean."""
        last = self.first + sum(self.counts)
        own = values[..., self.first : last]
        if last - self.first > len(self.counts):
            edges = np.cumsum((0, *self.counts))
            parts = [own[..., a:b] for a, b in pairwise(edges.tolist())]
            own = np.stack([_mean(part) for part in parts], axis=-1)
        picked = own if self.sign == 0.0 else np.maximum(self.sign * own, 0.0)
        return picked if self.dim else picked[..., 0]

    def newest(self, age: FloatArray) -> FloatArray:
        """Return the age of the newest slot of each label. [s]"""
        starts = self.first + np.cumsum((0, *self.counts[:-1]))
        last = self.first + sum(self.counts)
        picked = np.minimum.reduceat(age[:last], starts)
        return np.asarray(picked if self.dim else picked[0])


class Slots:
    """The latest value of each variable and object of a site.

    Attributes
    ----------
    places
        (variable, object) -> slot. Those of racks come last.
    machines
        Number of slots before those of racks.
    shapes
        Variables of the site and where their slots lie.
    value, time
        By slot: canonical value, and epoch microseconds of it.
    """

    def __init__(self, site: Site) -> None:
        self.places: dict[Key, int] = {}
        self.shapes: list[Shape] = []
        self.machines = 0
        groups = _groups(site)
        for group in (g for g in groups if g.dim != "rack"):
            self._lay(group)
        self.machines = len(self.places)
        for group in (g for g in groups if g.dim == "rack"):
            self._lay(group)
        self.value = np.full(len(self.places), np.nan)
        self.time = np.full(len(self.places), NEVER)

    def is_silent(
        self, slot: int, time: int, *, latest: int, longest: np.timedelta64
    ) -> np.bool_ | bool:
        """Return whether a slot was told nothing for long before a moment.

        Parameters
        ----------
        slot, time
            The slot, and the moment. [us since 1970]
        latest
            Latest stamp that counts: one beyond is of a clock that was set back. [us since 1970]
        longest
            What is not long yet.
        """
        told = int(self.time[slot])
        return told > latest or time - told > longest / _MICROSECOND

    def put(self, slot: int, time: int, value: float, *, latest: int) -> bool:
        """Keep a value if it is the newest of its slot up to a moment, and return whether it is."""
        if time <= self.time[slot] <= latest:
            return False
        self.time[slot] = time
        self.value[slot] = value
        return True

    def _lay(self, group: "_Group") -> None:
        first = len(self.places)
        for objects in group.objects.values():
            for label in objects:
                self.places[group.variable, label] = len(self.places)
        shape = Shape(
            variable=group.variable,
            dim=group.dim,
            labels=tuple(group.objects),
            first=first,
            counts=tuple(len(objects) for objects in group.objects.values()),
            sign=1.0 if group.negative else 0.0,
        )
        self.shapes.append(shape)
        if group.negative:
            self.shapes.append(replace(shape, variable=group.negative, sign=-1.0))


@dataclass(kw_only=True)
class _Group:
    """All objects that have a variable, by label."""

    variable: str
    dim: str
    negative: str
    objects: dict[str, list[str]] = field(default_factory=dict)


def _groups(site: Site) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for listed in list_points(site):
        meaning = listed.meaning
        if meaning.is_ours:
            continue
        kind = site.equipment[listed.machine].kind if listed.machine else ""
        is_rack = meaning.object_type == RACK
        dim = "rack" if is_rack else "" if kind in _SINGLE else DIMENSIONS.get(kind, kind)
        group = groups.setdefault(
            meaning.variable,
            _Group(variable=meaning.variable, dim=dim, negative=meaning.negative),
        )
        label = listed.label if is_rack else listed.machine
        group.objects.setdefault(label, []).append(listed.label)
    return list(groups.values())


def _mean(values: FloatArray) -> FloatArray:
    """Return the mean of what is there, on the last axis; NaN where nothing is."""
    is_there = np.isfinite(values)
    count = is_there.sum(axis=-1)
    total = np.where(is_there, values, 0.0).sum(axis=-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
