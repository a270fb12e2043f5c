"""What decides the rows of a model, and what they mean to people; without Pyomo.

The service process loads decisions that hold signatures, and it does not load Pyomo.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from twin.physics import FloatArray
from twin.physics.numerics import BoolArray, IntArray

PICKLED_STATE: Final = "packed"
"""Attribute that holds the pickled state until another attribute is read."""


@dataclass(frozen=True, kw_only=True)
class SiteSignature:
    """Signature of one site: block and signature of every component.

    ``name`` is the block of the site, empty if the site is the whole model. A conversion and an
    exchange may share a block.
    """

    name: str
    components: tuple[tuple[str, object], ...]


@dataclass(frozen=True, kw_only=True)
class ModelSignature:
    """Everything that decides which rows and columns there are: equal signatures have equal models.

    ``couplings`` are block and signature of every component that connects sites.
    """

    interval_count: int
    sites: tuple[SiteSignature, ...]
    couplings: tuple[tuple[str, object], ...] = field(default_factory=tuple)

    def __getstate__(self) -> dict[str, object]:
        """Return the state as bytes, because the parts belong to modules that import Pyomo."""
        own = vars(self)
        return own if PICKLED_STATE in own else {PICKLED_STATE: pickle.dumps(own)}

    def __getattr__(self, name: str) -> object:
        """Unpickle the state when an attribute is read for the first time."""
        packed = vars(self).pop(PICKLED_STATE, None)
        if packed is None:
            raise AttributeError(name)
        vars(self).update(pickle.loads(packed))
        return getattr(self, name)


type BlockNumbers = Callable[[str], FloatArray]
"""Name of a parameter or variable of a block -> its values in a plan."""

type RowShare = Callable[[BlockNumbers], FloatArray | BoolArray | np.bool_]
"""Numbers of a block -> change of each bound per unit of a limit, on all axes or the first ones."""


@dataclass(frozen=True, kw_only=True)
class RowSpec:
    """Meaning of a row, or of one bound of a variable, declared where it is built.

    - `label`: its name for people, without its owner; empty if nobody set it.
    - `unit`: unit of the bound.
    - `owner`: machine or contract that it belongs to; by default its block, empty for none.
    - `margin_name`: margin of the site that a plan keeps from it, "" for none.
    - `is_priced`: whether people can change it; weather, for example, has no price.
    - `max_trusted_dual`: dual above which it is reported without one. [EUR per unit]
    - `change_per_unit`: change of the bound per unit of the limit, 0 where it is no limit; by
      default 1.
    - `relaxed_with`: labels of the limits of the same owner in which it is relaxed too, each with
      its share; then it is no limit of its own when limits are relaxed.
    - `relaxed_unit`: unit of a limit that is relaxed over the whole horizon; by default `unit`.
    - `is_bound_of_limit`: whether its dual shows that the limit binds; others only move along.
    - `reserve_direction`: "up" or "down" if the reserves of all products share it, in that
      direction.
    - `windows`: intervals of each row, ``(row, time)``, where a row sums several intervals.
    - `periods`: labels and intervals ``(time,)`` of the billing periods in which it is one number.
    """

    label: str = ""
    unit: str = "MW"
    owner: str | None = None
    margin_name: str = ""
    is_priced: bool = True
    max_trusted_dual: float = np.inf
    change_per_unit: RowShare | None = None
    relaxed_with: Mapping[str, RowShare | None] = field(default_factory=dict)
    relaxed_unit: str = ""
    is_bound_of_limit: bool = True
    reserve_direction: str = ""
    windows: Callable[[BlockNumbers], BoolArray] | None = None
    periods: Callable[[BlockNumbers], Iterator[tuple[str, BoolArray]]] | None = None


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A row, or a bound of a variable, of a compiled model with its meaning.

    ``name`` is ``<block>.<row or variable>``, ``owner`` the machine or contract that it belongs to,
    empty for none. ``intervals`` is the interval of each value of its first axis, -1 before the
    horizon and for the initial level.
    """

    spec: RowSpec
    name: str
    block: str
    owner: str
    is_row: bool
    is_lower_bound: bool
    intervals: IntArray

    @property
    def label(self) -> str:
        """Label with its owner."""
        return label_with_owner(self.spec.label, self.owner)

    def block_numbers(self, every: Mapping[str, FloatArray]) -> BlockNumbers:
        """Return the numbers of its block, from ``<block>.<name>`` -> values."""
        return lambda name: every[f"{self.block}.{name}"]

    def changes_per_unit(
        self, share: RowShare | None, every: Mapping[str, FloatArray], shape: tuple[int, ...]
    ) -> FloatArray:
        """Return the change of each bound per unit of a limit, on all axes; 0 if it is given."""
        each = np.asarray(1.0 if share is None else share(self.block_numbers(every)), dtype=float)
        found = np.broadcast_to(each.reshape(each.shape + (1,) * (len(shape) - each.ndim)), shape)
        if self.spec.windows is not None:
            return found
        return np.where((self.intervals >= 0).reshape(-1, *(1,) * (len(shape) - 1)), found, 0.0)

    def savings(self, duals: FloatArray, share: FloatArray | float = 1.0) -> FloatArray:
        """Return what relaxing each bound saves, from its duals. [EUR per unit]"""
        return np.maximum(duals if self.is_lower_bound else -duals, 0.0) * (np.asarray(share) > 0.0)

    def largest_by_interval(
        self, values: FloatArray, every: Mapping[str, FloatArray], steps: int
    ) -> FloatArray:
        """Return the largest value of each interval, ``(time,)``; 0 where it has none."""
        found, each = np.zeros(steps), values.reshape(len(values), -1).max(axis=1, initial=0.0)
        if self.spec.windows is not None:
            within = self.spec.windows(self.block_numbers(every))
            return np.asarray(np.where(within, each[:, None], 0.0).max(axis=0, initial=0.0))
        inside = self.intervals >= 0
        found[self.intervals[inside]] = each[inside]
        return found


def label_with_owner(label: str, owner: str) -> str:
    """Return a label with its machine or contract."""
    return f"{label} ({owner})" if owner else label


def share_where_positive(name: str) -> RowShare:
    """Return the share of bounds that are limits where a parameter is positive."""
    return lambda of: of(name) > 0.0


def reserve_column_name(product: str) -> str:
    """Return the name of the column with the capacity that a holder keeps for a product."""
    return f"capacity_{product}"
