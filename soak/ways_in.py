"""A reader: its valid examples, how they are corrupted, and the errors that it may raise."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soak import mutating
from soak.mutating import Spoil
from twin.errors import MessageError

MESSAGE: tuple[tuple[Spoil, float], ...] = (
    (mutating.document, 60.0),
    (mutating.octets, 30.0),
    (mutating.noise, 9.0),
    (mutating.bomb, 0.5),
)
"""How a message in JSON is spoilt, and how often."""

TEXT: tuple[tuple[Spoil, float], ...] = (
    (mutating.octets, 90.0),
    (mutating.noise, 9.5),
    (mutating.bomb, 0.5),
)
"""How all that is neither JSON nor a table is spoilt."""

TABLE: tuple[tuple[Spoil, float], ...] = ((mutating.cells, 70.0), *TEXT[:1], (mutating.bomb, 0.2))
"""How a file of lines is spoilt."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One way in.

    Attributes
    ----------
    share
        How often it is tried, beside the others.
    valid
        What it takes.
    read
        Reads bytes; True if it took them.
    refusals
        The errors by which it may refuse; any other breaks a promise.
    spoils
        How its input is spoilt.
    around
        Makes what stands around an input, such as its signature, before the clock starts.
    is_message
        Whether it comes over the wire, where no input may take longer than the limit; else it is
        a file that a person gives.
    """

    name: str
    share: float
    valid: Sequence[bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = (MessageError,)
    spoils: tuple[tuple[Spoil, float], ...] = TEXT
    around: Callable[[bytes], bytes] = bytes
    is_message: bool = True

    def input(self, dice: random.Random) -> bytes:
        """Return something to read."""
        ways, shares = zip(*self.spoils, strict=True)
        spoil = dice.choices(ways, shares)[0]
        return self.around(spoil(dice.choice(self.valid), dice))
