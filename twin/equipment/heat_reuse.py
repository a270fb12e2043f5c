"""Heat reuse: a heat pump from the warm circuit to a district-heat network, and its contract."""

from typing import Annotated, ClassVar, Final, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.machine import Equipment
from twin.physics import FloatArray, refrigeration
from twin.relations import ConversionFlows, Convert, Exchange, Relation
from twin.units import Quantity
from twin.weather import Weather

_PASSES: Final = 12  # each brings the heat closer by the inverse of the COP, or better


class HeatReuse(Equipment):
    """A heat pump that cools the warm circuit's return and sells the heat at a fixed price.

    The network takes what it needs: a base for hot water, and below the heating limit more for
    each kelvin, up to the contracted power at the design temperature.
    """

    kind: ClassVar[str] = "heat_reuse"

    rated_heat: Annotated[float, Quantity("MW", "heat delivered at rating", above=0)]
    lorenz_efficiency: Annotated[
        float, Quantity("1", "COP at rating over that of the Lorenz cycle", above=0.1, below=1)
    ]
    approach: Annotated[
        float, Quantity("K", "approaches of both heat exchangers at rating, summed", at_least=0)
    ]
    minimum_part_load: Annotated[
        float,
        Quantity("1", "share of the rating below which machines cycle", at_least=0, at_most=1),
    ]
    source_inlet_temperature: Annotated[
        float, Quantity("degC", "warm water that comes in", above=5, below=80)
    ]
    source_outlet_temperature: Annotated[
        float, Quantity("degC", "warm water that goes back", above=5, below=80)
    ]
    return_temperature: Annotated[
        float, Quantity("degC", "water that comes back from the network", above=10, below=100)
    ]
    supply_temperature: Annotated[
        float, Quantity("degC", "water delivered to the network", above=20, below=130)
    ]
    mild_supply_temperature: (
        Annotated[
            float, Quantity("degC", "the same above the heating limit, if it slides", above=20)
        ]
        | None
    ) = None
    contract_power: Annotated[float, Quantity("MW", "most heat that the network takes", above=0)]
    base_share: Annotated[
        float, Quantity("1", "share of it that hot water takes all year", at_least=0, at_most=1)
    ]
    heating_limit: Annotated[
        float, Quantity("degC", "outdoor temperature below which houses are heated", below=30)
    ]
    design_temperature: Annotated[
        float, Quantity("degC", "outdoor temperature of the greatest demand", above=-50)
    ]
    heat_price: Annotated[float, Quantity("EUR MWh-1", "paid for each MWh of heat", at_least=0)]

    @model_validator(mode="after")
    def _heat_is_lifted(self) -> Self:
        if self.source_outlet_temperature >= self.source_inlet_temperature:
            message = "source_outlet_temperature must be below source_inlet_temperature"
            raise ValueError(message)
        if self.return_temperature >= self.supply_temperature:
            message = "return_temperature must be below supply_temperature"
            raise ValueError(message)
        mild = self.mild_supply_temperature
        if mild is not None and not self.return_temperature < mild <= self.supply_temperature:
            message = "mild_supply_temperature must lie between return_ and supply_temperature"
            raise ValueError(message)
        if self.design_temperature >= self.heating_limit:
            message = "design_temperature must be below heating_limit"
            raise ValueError(message)
        least = float(self._lifts(np.asarray(self.heating_limit))[0])
        if min(self._lift, least) <= 0.0 or self.rated_cop <= 1.0:
            message = "the network must be warmer than the source, and the COP above 1"
            raise ValueError(message)
        part = least + self.approach * self.minimum_part_load
        reached = self.lorenz_efficiency * (least + self.approach) / part
        if reached >= 1.0:
            message = (
                f"at least part load the COP would be {reached:.2f} of that of the Lorenz cycle: "
                "lower lorenz_efficiency or approach, or raise minimum_part_load"
            )
            raise ValueError(message)
        return self

    @property
    def rated_cop(self) -> float:
        """Heat delivered over electricity at rating. [1]"""
        ideal = refrigeration.lorenz_cop(self._sink - self._lift, self._sink)
        return float(self.lorenz_efficiency * ideal)

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion of warm water's heat to district heat, and its sale."""
        return (
            Convert(
                owner=self.name,
                output="heat",
                primary_input="medium_voltage",
                inputs=("medium_voltage", "warm"),
                heat_source="warm",
                max_output=self.max_output,
                physics=self._flows,
            ),
            Exchange(
                owner=self.name,
                carrier="heat",
                import_limit=0.0,
                export_limit=self.contract_power,
                export_fee=-self.heat_price,
                account="heat",
            ),
        )

    def network_demand(self, air_temperature: FloatArray) -> FloatArray:
        """Return the heat that the network takes.

        Parameters
        ----------
        air_temperature
            Outdoor air. [degC]

        Returns
        -------
        numpy.ndarray
            Heat. [MW]
        """
        cold = self._cold(air_temperature)
        return np.asarray(self.contract_power * (self.base_share + (1.0 - self.base_share) * cold))

    def max_output(self, weather: Weather) -> FloatArray:
        """Return the most heat that network and machines allow. [MW]"""
        return np.minimum(self.network_demand(weather.air_temperature), self.rated_heat)

    def network_supply_temperature(self, air_temperature: FloatArray) -> FloatArray:
        """Return the temperature at which the network wants its water in some outdoor air. [degC]

        It slides on a line between the design temperature and the heating limit, if declared so.
        """
        mild, design = self.mild_supply_temperature, self.supply_temperature
        slide = 0.0 if mild is None else design - mild
        return np.asarray(design - slide * (1.0 - self._cold(air_temperature)))

    def power(self, heat: FloatArray, air_temperature: FloatArray | None = None) -> FloatArray:
        r"""Return the electricity that delivers some heat.

        Parameters
        ----------
        heat
            Heat delivered. [MW]
        air_temperature
            Outdoor air, by which a network's supply may slide; by default that of the design.
            [degC]

        Returns
        -------
        numpy.ndarray
            Electric power. [MW]

        Notes
        -----
        The refrigerant is lifted over the distance :math:`L` of the streams' mean temperatures and
        over the approaches, which follow the load :math:`x`:

        .. math:: P = \frac{Q}{COP_r} \frac{L + a \max(x, x_{min})}{L + a}

        Below the least part load machines cycle and the COP stays. Losses that do not follow the
        load are left out.
        """
        heat = np.asarray(heat, dtype=np.float64)
        share = np.maximum(heat / self.rated_heat, self.minimum_part_load)
        design = np.asarray(self.design_temperature)
        lift, cop = self._lifts(design if air_temperature is None else air_temperature)
        return np.asarray(heat / cop * (lift + self.approach * share) / (lift + self.approach))

    def max_output_from_source(
        self, source_heat: FloatArray, air_temperature: FloatArray | None = None
    ) -> FloatArray:
        """Return the most heat that takes no more from the warm circuit than there is.

        Parameters
        ----------
        source_heat
            Heat of the circuit, not negative. [MW]
        air_temperature
            Outdoor air, as for the power. [degC]

        Returns
        -------
        numpy.ndarray
            Heat delivered; it is approached from below. At most the rating. [MW]
        """
        source_heat = np.asarray(source_heat, dtype=np.float64)
        heat = np.minimum(source_heat, self.rated_heat)
        for _ in range(_PASSES):
            heat = np.minimum(source_heat + self.power(heat, air_temperature), self.rated_heat)
        return heat

    def _cold(self, air_temperature: FloatArray) -> FloatArray:
        """Return how cold it is between the heating limit, 0, and the design temperature, 1. [1]"""
        span = self.heating_limit - self.design_temperature
        return np.clip((self.heating_limit - np.asarray(air_temperature)) / span, 0.0, 1.0)

    def _lifts(self, air_temperature: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return lift [K] and COP at full load [1] in some outdoor air."""
        sink = refrigeration.thermodynamic_mean_temperature(
            self.network_supply_temperature(air_temperature), np.asarray(self.return_temperature)
        )
        lift = np.asarray(sink - self._sink + self._lift)
        ideal = refrigeration.lorenz_cop(sink - lift, sink)
        return lift, np.asarray(self.lorenz_efficiency * ideal)

    @property
    def _sink(self) -> float:
        return float(
            refrigeration.thermodynamic_mean_temperature(
                self.supply_temperature, self.return_temperature
            )
        )

    @property
    def _lift(self) -> float:
        """Mean temperature of the network's water less that of the source. [K]"""
        source = refrigeration.thermodynamic_mean_temperature(
            self.source_inlet_temperature, self.source_outlet_temperature
        )
        return self._sink - float(source)

    def _flows(self, output: FloatArray, weather: Weather) -> ConversionFlows:
        power = self.power(output, weather.air_temperature)
        taken = output - power
        details = {
            "heat_reuse_draw": power,
            "heat_reuse_source_heat": taken,
            "heat_reuse_loading": output / self.rated_heat,
            "heat_reuse_limit": np.broadcast_to(self.max_output(weather), power.shape),
        }
        draws = {"medium_voltage": power, "warm": -taken}
        return ConversionFlows(inputs=draws, heat=np.zeros_like(power), details=details)
