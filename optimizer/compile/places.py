"""Where components and their indices stand among the columns, rows and inputs of a model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyomo.core.expr import SumExpression

from optimizer.compile.terms import Place

type Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """An index set of whole numbers: its members, and the position of each by its number."""

    members: Positions
    position: Positions

    @staticmethod
    def of(members: Iterable[int]) -> "Axis":
        """Return an axis of members in ascending order."""
        numbers = np.array(list(members), dtype=np.int64)
        position = np.full(int(numbers.max(initial=-1)) + 1, -1)
        position[numbers] = np.arange(len(numbers))
        return Axis(numbers, position)


@dataclass(frozen=True)
class Stand:
    """A component among others of its sort: its first position, and its axes."""

    first: int
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(axis.members) for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of members."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def all(self) -> Positions:
        """Positions of all members, shaped as the axes."""
        return self.first + np.arange(self.size).reshape(self.shape)

    def at(self, index: Sequence[Positions | int]) -> Positions:
        """Return positions at numbers of the axes, which broadcast against one another."""
        place: Positions = np.zeros((), dtype=np.int64)
        for axis, number in zip(self.axes, index, strict=True):
            place = place * len(axis.members) + axis.position[number]
        return self.first + place


class Stands:
    """All components of one sort, in the order in which the model declares them."""

    def __init__(self, components: Iterable[Any]) -> None:
        self.size = 0
        self._of: dict[int, Stand] = {}
        self.named: dict[str, Stand] = {}
        for component in components:
            stand = Stand(self.size, axes_of(component))
            self.size += stand.size
            self._of[id(component)] = self.named[component.name] = stand

    def __getitem__(self, component: Any) -> Stand:
        """Return where a component stands."""
        return self._of[id(component)]

    def at(self, place: Place, numbers: Mapping[int, Positions]) -> Positions:
        """Return positions of a place, for the numbers that its index templates take."""
        return self[place.component].at([_number(part, numbers) for part in place.index])


def axes_of(component: Any) -> tuple[Axis, ...]:
    """Return the axes of a component; none for a scalar."""
    if not component.is_indexed():
        return ()
    return tuple(Axis.of(part) for part in component.index_set().subsets())


def template_numbers(templates: Sequence[Any], before: int, after: int) -> dict[int, Positions]:
    """Return the numbers of index templates, each along its own axis of a mesh.

    Parameters
    ----------
    templates
        Index templates.
    before, after
        Number of axes of the mesh before and after theirs.
    """
    found = {}
    for i, template in enumerate(templates):
        members = list(template._set.subsets())[template._index or 0]
        numbers = np.array(list(members), dtype=np.int64)
        behind = len(templates) - i - 1 + after
        found[id(template)] = numbers.reshape((1,) * (before + i) + (-1,) + (1,) * behind)
    return found


def _number(part: Any, numbers: Mapping[int, Positions]) -> Positions | int:
    """Return the numbers that an index takes."""
    if isinstance(part, int):
        return part
    if isinstance(part, SumExpression):
        return np.asarray(sum(_number(one, numbers) for one in part.args))
    if id(part) not in numbers:
        message = f"{part}: an index that no set gives: a sum was cut short when it was templatised"
        raise TypeError(message)
    return numbers[id(part)]
