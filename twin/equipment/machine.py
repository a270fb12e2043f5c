"""What all equipment of a site has in common: frozen parameters, and relations to carriers."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np

from twin.errors import IssueCode, SiteError
from twin.physics import FloatArray
from twin.relations import Conversion, ConversionFlows, Relation
from twin.units import Declaration
from twin.weather import Weather


class Equipment(Declaration):
    """A machine, plant or contract of a site.

    - `kind`: name of the kind in site files.
    - `is_machine`: whether it is physical, with points of its own; a contract is not.
    - `name`: id in the site file.
    """

    kind: ClassVar[str] = ""
    is_machine: ClassVar[bool] = True
    name: str

    def relations(self) -> tuple[Relation, ...]:
        """Return the relations of this machine to carriers."""
        raise NotImplementedError

    def operate(self, output: FloatArray | float, weather: Weather) -> ConversionFlows:
        """Return all flows of the machine at an output in some weather.

        Parameters
        ----------
        output
            Power, heat or cooling delivered, with ``time`` as last axis; one value is enough. [MW]
        weather
            Outdoor air on ``time``, as from :meth:`.Weather.constant`.

        Returns
        -------
        ConversionFlows
            Inputs by carrier, heat to the surroundings [MW], and details by variable.

        Raises
        ------
        SiteError
            If the machine converts nothing: a store, a hall, an exchange or a contract.
        """
        for relation in self.relations():
            if isinstance(relation, Conversion):
                values = np.broadcast_to(np.asarray(output, dtype=np.float64), weather.shape)
                return relation.flows_at_output(values, weather)
        raise SiteError.single(
            self.name,
            IssueCode.UNSUPPORTED,
            f"equipment.{self.name}",
            found=self.kind,
            expected="a machine that converts one carrier into another",
            remedy="use twin.steady or twin.simulate with its site",
        )

    def with_values(self, **values: object) -> "Equipment":
        """Return a copy with changed parameters in canonical units, validated as in a file."""
        data = self.model_dump() | values
        return type(self).model_validate(data, context={"canonical": True})


MIN_CURVE_POINTS: Final = 2


def check_efficiency_points(
    load: Sequence[float],
    efficiency: Sequence[float],
    prefix: str = "",
    *,
    max_efficiency: float = 1.0,
) -> None:
    """Raise a ValueError unless points of an efficiency curve are valid.

    ``load`` and ``efficiency`` are load over rating and output over input [1], the latter at most
    ``max_efficiency`` [1].
    """
    loads, efficiencies = f"{prefix}load_points", f"{prefix}efficiency_points"
    if len(load) < MIN_CURVE_POINTS or len(load) != len(efficiency):
        raise ValueError(f"{loads} and {efficiencies} must have the same length, at least 2")
    if load[0] <= 0.0 or any(b <= a for a, b in pairwise(load)):
        raise ValueError(f"{loads} must rise from above 0")
    if not all(0.0 < share <= max_efficiency for share in efficiency):
        raise ValueError(f"{efficiencies} must lie between 0 and 1")
