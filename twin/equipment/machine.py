"""What every declared thing of a site has in common: frozen parameters, and relations."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Final

from twin.relations import Relation
from twin.units import Declaration


class Equipment(Declaration):
    """A machine, plant or contract of a site.

    Attributes
    ----------
    kind
        Word under which site files know it.
    is_machine
        Whether it stands somewhere, with points of its own; a contract does not.
    name
        Id in the site file.
    """

    kind: ClassVar[str] = ""
    is_machine: ClassVar[bool] = True
    name: str

    def relations(self) -> tuple[Relation, ...]:
        """Return what this machine may do to which carriers."""
        raise NotImplementedError

    def with_values(self, **values: object) -> "Equipment":
        """Return a copy with some parameters set, in canonical units, checked as in a file."""
        data = self.model_dump() | values
        return type(self).model_validate(data, context={"canonical": True})


MIN_CURVE_POINTS: Final = 2
"""Points through which a curve can be laid. [1]"""


def check_efficiency_points(
    load: Sequence[float],
    efficiency: Sequence[float],
    prefix: str = "",
    *,
    max_efficiency: float = 1.0,
) -> None:
    """Refuse points of an efficiency over the load through which no curve of losses goes.

    Parameters
    ----------
    load, efficiency
        Load over rating, and output over input there. [1]
    prefix
        Before ``load_points`` and ``efficiency_points`` in the names of the parameters.
    max_efficiency
        Greatest efficiency. [1]

    Raises
    ------
    ValueError
        If they are too few, do not rise, or are no shares.
    """
    loads, efficiencies = f"{prefix}load_points", f"{prefix}efficiency_points"
    if len(load) < MIN_CURVE_POINTS or len(load) != len(efficiency):
        message = f"{loads} and {efficiencies} must be equally many, at least 2"
        raise ValueError(message)
    if load[0] <= 0.0 or any(b <= a for a, b in pairwise(load)):
        message = f"{loads} must rise from above 0"
        raise ValueError(message)
    if not all(0.0 < share <= max_efficiency for share in efficiency):
        message = f"{efficiencies} must lie between 0 and 1"
        raise ValueError(message)
