"""Heat reuse: a heat pump from the warm circuit to a district-heat network, and its contract."""

from typing import Annotated, ClassVar, Final, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.machine import Equipment
from twin.physics import FloatArray, refrigeration
from twin.relations import Conversion, ConversionFlows, Exchange, Relation
from twin.units import Quantity
from twin.weather import Weather

_HEAT_PUMP_ITERATIONS: Final = 12  # each reduces the error by a factor of the COP at least


class HeatReuse(Equipment):
    """A heat pump that cools the return of the warm circuit and sells the heat at a fixed price.

    The network's demand is a base for hot water, plus a part that rises linearly below the heating
    limit to the contracted power at the design temperature.
    """

    kind: ClassVar[str] = "heat_reuse"

    rated_heat: Annotated[float, Quantity("MW", "rated heat delivered", above=0)]
    lorenz_efficiency: Annotated[
        float, Quantity("1", "COP at rating over that of the Lorenz cycle", above=0.1, below=1)
    ]
    approach: Annotated[
        float, Quantity("K", "sum of both heat exchangers' approaches at rating", at_least=0)
    ]
    minimum_part_load: Annotated[
        float,
        Quantity("1", "share of the rating below which units cycle", at_least=0, at_most=1),
    ]
    source_inlet_temperature: Annotated[
        float, Quantity("degC", "temperature of warm water at the inlet", above=5, below=80)
    ]
    source_outlet_temperature: Annotated[
        float, Quantity("degC", "temperature of warm water at the outlet", above=5, below=80)
    ]
    return_temperature: Annotated[
        float, Quantity("degC", "return temperature of the network", above=10, below=100)
    ]
    supply_temperature: Annotated[
        float, Quantity("degC", "supply temperature of the network", above=20, below=130)
    ]
    mild_supply_temperature: (
        Annotated[
            float,
            Quantity("degC", "supply temperature above the heating limit, if variable", above=20),
        ]
        | None
    ) = None
    contract_power: Annotated[float, Quantity("MW", "maximum heat demand of the network", above=0)]
    base_share: Annotated[
        float, Quantity("1", "hot-water share of it, all year", at_least=0, at_most=1)
    ]
    heating_limit: Annotated[
        float, Quantity("degC", "outdoor temperature below which heating begins", below=30)
    ]
    design_temperature: Annotated[
        float, Quantity("degC", "outdoor temperature of the maximum demand", above=-50)
    ]
    heat_price: Annotated[float, Quantity("EUR MWh-1", "price received for heat", at_least=0)]

    @model_validator(mode="after")
    def _check_temperatures(self) -> Self:
        if self.source_outlet_temperature >= self.source_inlet_temperature:
            raise ValueError("source_outlet_temperature must be below source_inlet_temperature")
        if self.return_temperature >= self.supply_temperature:
            raise ValueError("return_temperature must be below supply_temperature")
        mild = self.mild_supply_temperature
        if mild is not None and not self.return_temperature < mild <= self.supply_temperature:
            message = "mild_supply_temperature must lie between return_ and supply_temperature"
            raise ValueError(message)
        if self.design_temperature >= self.heating_limit:
            raise ValueError("design_temperature must be below heating_limit")
        min_lift = float(self._lifts(np.asarray(self.heating_limit))[0])
        if min(self._lift, min_lift) <= 0.0 or self.rated_cop <= 1.0:
            raise ValueError("raise supply_temperature above the source's, and the COP above 1")
        part_load_lift = min_lift + self.approach * self.minimum_part_load
        efficiency = self.lorenz_efficiency * (min_lift + self.approach) / part_load_lift
        if efficiency >= 1.0:
            raise ValueError(
                f"at minimum part load the COP would be {efficiency:.2f} of the Lorenz COP: "
                "lower lorenz_efficiency or approach, or raise minimum_part_load"
            )
        return self

    @property
    def rated_cop(self) -> float:
        """Heat delivered over electricity at rating. [1]"""
        ideal = refrigeration.lorenz_cop(self._sink - self._lift, self._sink)
        return float(self.lorenz_efficiency * ideal)

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion of warm-circuit heat to district heat, and its sale."""
        return (
            Conversion(
                owner=self.name,
                output_carrier="heat",
                primary_input="medium_voltage",
                input_carriers=("medium_voltage", "warm"),
                heat_source="warm",
                max_output=self.max_output,
                flows_at_output=self._flows,
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
        """Return the heat demand of the network at an outdoor temperature [degC]. [MW]"""
        coldness = self._relative_coldness(air_temperature)
        return np.asarray(
            self.contract_power * (self.base_share + (1.0 - self.base_share) * coldness)
        )

    def max_output(self, weather: Weather) -> FloatArray:
        """Return the maximum heat that network and heat pump allow. [MW]"""
        return np.minimum(self.network_demand(weather.air_temperature), self.rated_heat)

    def network_supply_temperature(self, air_temperature: FloatArray) -> FloatArray:
        """Return the supply temperature of the network at an outdoor temperature [degC]. [degC]

        It varies linearly from the design temperature to the heating limit if declared so.
        """
        mild, design = self.mild_supply_temperature, self.supply_temperature
        slide = 0.0 if mild is None else design - mild
        return np.asarray(design - slide * (1.0 - self._relative_coldness(air_temperature)))

    def power(self, heat: FloatArray, air_temperature: FloatArray | None = None) -> FloatArray:
        r"""Return the electricity for a heat output [MW]. [MW]

        ``air_temperature`` sets a variable supply temperature; by default it is that of the design
        [degC].

        Notes
        -----
        The lift is the difference :math:`L` of the streams' mean temperatures plus the approaches,
        which are proportional to the load :math:`x`:

        .. math:: P = \frac{Q}{COP_r} \frac{L + a \max(x, x_{min})}{L + a}

        Below minimum part load units cycle at constant COP. Losses independent of load are
        neglected.
        """
        heat = np.asarray(heat, dtype=np.float64)
        share = np.maximum(heat / self.rated_heat, self.minimum_part_load)
        design = np.asarray(self.design_temperature)
        lift, cop = self._lifts(design if air_temperature is None else air_temperature)
        return np.asarray(heat / cop * (lift + self.approach * share) / (lift + self.approach))

    def max_output_from_source(
        self, source_heat: FloatArray, air_temperature: FloatArray | None = None
    ) -> FloatArray:
        """Return the maximum heat output for available heat of the warm circuit [MW]. [MW]

        The iteration approaches it from below, up to the rating. ``air_temperature`` is as for
        :meth:`power` [degC].
        """
        source_heat = np.asarray(source_heat, dtype=np.float64)
        heat = np.minimum(source_heat, self.rated_heat)
        for _ in range(_HEAT_PUMP_ITERATIONS):
            heat = np.minimum(source_heat + self.power(heat, air_temperature), self.rated_heat)
        return heat

    def _relative_coldness(self, air_temperature: FloatArray) -> FloatArray:
        """Return the relative coldness: 0 at the heating limit, 1 at the design temperature. [1]"""
        span = self.heating_limit - self.design_temperature
        return np.clip((self.heating_limit - np.asarray(air_temperature)) / span, 0.0, 1.0)

    def _lifts(self, air_temperature: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return temperature lift [K] and full-load COP [1] at an outdoor temperature."""
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
        """Mean temperature of the network less that of the source. [K]"""
        source = refrigeration.thermodynamic_mean_temperature(
            self.source_inlet_temperature, self.source_outlet_temperature
        )
        return self._sink - float(source)

    def _flows(self, output: FloatArray, weather: Weather) -> ConversionFlows:
        power = self.power(output, weather.air_temperature)
        source_heat = output - power
        details = {
            "heat_reuse_draw": power,
            "heat_reuse_source_heat": source_heat,
            "heat_reuse_loading": output / self.rated_heat,
            "heat_reuse_limit": np.broadcast_to(self.max_output(weather), power.shape),
        }
        draws = {"medium_voltage": power, "warm": -source_heat}
        return ConversionFlows(inputs=draws, heat=np.zeros_like(power), details=details)
