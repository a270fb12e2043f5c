"""Slots: where the numbers of a problem land in one array, and with which factor."""

from dataclasses import dataclass, replace

import numpy as np

from optimizer.compile.places import Positions
from twin.physics import FloatArray

MOST_INPUTS = 2
"""Most parameters that a term may multiply. [1]"""


@dataclass(frozen=True, kw_only=True)
class Entries:
    """Terms of one array, at positions that may repeat: a factor times two inputs.

    Attributes
    ----------
    target
        Position in the array.
    factor
        Constant.
    first, second
        Positions of the inputs; the last input is 1.
    """

    target: Positions
    factor: FloatArray
    first: Positions
    second: Positions

    def moved(self, target: Positions) -> "Entries":
        """Return the same entries at other positions."""
        return replace(self, target=target)

    @staticmethod
    def joined(parts: "list[Entries]") -> "Entries":
        """Return several as one, in their order."""
        if not parts:
            none = np.empty(0, dtype=np.int64)
            return Entries(target=none, factor=np.empty(0), first=none, second=none)
        return Entries(
            target=np.concatenate([part.target for part in parts]),
            factor=np.concatenate([part.factor for part in parts]),
            first=np.concatenate([part.first for part in parts]),
            second=np.concatenate([part.second for part in parts]),
        )


@dataclass(frozen=True, kw_only=True)
class Slots:
    """One array as a function of the inputs: constants, and sums of products of inputs.

    Attributes
    ----------
    base
        The array where no input lands; zero elsewhere.
    targets
        Positions on which inputs land, each once.
    entries
        What lands; their targets are positions among ``targets``.
    """

    base: FloatArray
    targets: Positions
    entries: Entries

    @staticmethod
    def of(entries: Entries, size: int, one: int) -> "Slots":
        """Return the slots of an array.

        Parameters
        ----------
        entries
            All terms of the array.
        size
            Its length.
        one
            Position of the input that is always 1.
        """
        is_fed = np.zeros(size, dtype=bool)
        is_fed[entries.target[entries.first != one]] = True
        fed = is_fed[entries.target]
        base = np.bincount(
            entries.target[~fed], weights=entries.factor[~fed], minlength=size
        ).astype(float)
        number = np.cumsum(is_fed) - 1
        kept = Entries(
            target=number[entries.target[fed]],
            factor=entries.factor[fed],
            first=entries.first[fed],
            second=entries.second[fed],
        )
        return Slots(base=base, targets=np.flatnonzero(is_fed), entries=kept)

    def filled(self, inputs: FloatArray) -> FloatArray:
        """Return the array for inputs; sums are made in the order of the model.

        Parameters
        ----------
        inputs
            All inputs, the last of which is 1.
        """
        array, own = self.base.copy(), self.entries
        landed = own.factor * inputs[own.first] * inputs[own.second]
        array[self.targets] = np.bincount(own.target, weights=landed, minlength=len(self.targets))
        return array
