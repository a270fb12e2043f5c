"""Halls of accelerator racks, from the rack inlet to board and chip, with chassis and power
smoothing.

A chassis holds nodes behind converters, and rectifiers that share the load.
"""

from itertools import pairwise
from typing import Annotated, ClassVar, Final, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.machine import MIN_CURVE_POINTS, Equipment, check_efficiency_points
from twin.physics import FloatArray, electrical_equipment, fluid_flow, heat_exchangers
from twin.relations import FlexibleLoad, Relation
from twin.units import KW_PER_MW, W_PER_MW, Declaration, ParameterDescription, Quantity

L_MIN_PER_M3_H: Final = 1000.0 / 60.0

COOLANT_TEMPERATURE_C: Final = 40.0
"""Temperature at which the coolant's density and heat capacity are taken. [degC]"""

CHASSIS_POWER_TOLERANCE: Final = 1e-3
"""Allowed deviation of declared rack powers from the draw of the rack's chassis. [1]"""


class PowerConverter(Declaration):
    """A converter that uses a fixed power and a share of its input."""

    own_power: Annotated[float, Quantity("MW", "fixed own power at every load", at_least=0)]
    efficiency: Annotated[
        float, Quantity("1", "output and own power over input", above=0.5, at_most=1)
    ]


class ComputeNode(Declaration):
    """One node: processors between idle and full load, and constant loads."""

    cpus: Annotated[int, Quantity("1", "number of CPUs", at_least=0)]
    cpu_idle: Annotated[float, Quantity("MW", "draw of an idle CPU", at_least=0)]
    cpu_full: Annotated[float, Quantity("MW", "draw of a CPU at full load", at_least=0)]
    gpus: Annotated[int, Quantity("1", "number of accelerators", at_least=0)]
    gpu_idle: Annotated[float, Quantity("MW", "draw of an idle accelerator", at_least=0)]
    gpu_full: Annotated[float, Quantity("MW", "draw of an accelerator at full load", at_least=0)]
    memory: Annotated[float, Quantity("MW", "draw of the memory", at_least=0)]
    network: Annotated[float, Quantity("MW", "draw of all network cards", at_least=0)]
    storage: Annotated[float, Quantity("MW", "draw of the local storage", at_least=0)]

    def power(self, cpu_share: FloatArray | float, gpu_share: FloatArray | float) -> FloatArray:
        """Return the power of a node at the load shares of its processors. [MW]"""
        cpu = self.cpu_idle + cpu_share * (self.cpu_full - self.cpu_idle)
        gpu = self.gpu_idle + gpu_share * (self.gpu_full - self.gpu_idle)
        fixed = self.memory + self.network + self.storage
        return np.asarray(self.cpus * cpu + self.gpus * gpu + fixed)


class Chassis(Declaration):
    """Nodes and switches fed by rectifiers that share the load equally; a cabinet has several."""

    count: Annotated[int, Quantity("1", "chassis in a cabinet", at_least=1)]
    nodes: Annotated[int, Quantity("1", "nodes in a chassis", at_least=1)]
    node: ComputeNode
    node_converter: PowerConverter
    switches: Annotated[int, Quantity("1", "switches in a chassis", at_least=0)]
    switch: Annotated[float, Quantity("MW", "draw of one switch", at_least=0)]
    rectifiers: Annotated[int, Quantity("1", "rectifiers in a chassis", at_least=1)]
    rectifier: PowerConverter

    @property
    def chip_count(self) -> int:
        """Accelerators in a cabinet. [1]"""
        return self.count * self.nodes * self.node.gpus

    def cabinet_power(
        self, cpu_share: FloatArray | float, gpu_share: FloatArray | float
    ) -> FloatArray:
        r"""Return the draw of a cabinet. [MW]

        The load shares of the processors are 0 at idle and 1 at full load [1]. Every converter
        draws :math:`(P + P_o) / \eta`, see
        :func:`twin.physics.electrical_equipment.conversion_power`.
        """
        node = _converter_input(self.node_converter, self.node.power(cpu_share, gpu_share))
        shared = (self.nodes * node + self.switches * self.switch) / self.rectifiers
        return self.count * self.rectifiers * _converter_input(self.rectifier, shared)


class PowerSmoothingSettings(Declaration):
    """Floor, ramps and hysteresis of a rack's accelerators, and the storage of its power shelves.

    The floor wastes the power below it to steady the load; it is never a reduction for sale.
    """

    floor: Annotated[
        float,
        Quantity("1", "minimum power while work runs, share of rack_power", at_least=0, below=1),
    ] = 0.0
    ramp_up: (
        Annotated[float, Quantity("MW s-1", "fastest rise of a rack's power", above=0)] | None
    ) = None
    ramp_down: (
        Annotated[float, Quantity("MW s-1", "fastest fall of a rack's power", above=0)] | None
    ) = None
    hysteresis: Annotated[
        float, Quantity("s", "time for which the floor stays after work", at_least=0, at_most=60)
    ] = 0.0
    storage: Annotated[
        float, Quantity("MJ", "energy storage of a rack's power shelves", at_least=0)
    ] = 0.0


class ITHall(Equipment):
    """The equal racks of one hall; all electric power becomes heat."""

    kind: ClassVar[str] = "accelerators"

    racks: Annotated[int, Quantity("1", "number of racks", at_least=1)]
    chips_per_rack: Annotated[int, Quantity("1", "accelerators in a rack", at_least=1)] = 72
    rack_power: Annotated[float, Quantity("MW", "draw of one rack at full load", above=0)]
    rack_idle_power: Annotated[float, Quantity("MW", "draw of one idle rack", at_least=0)]
    liquid_share: Annotated[
        float, Quantity("1", "share of the heat removed by liquid", at_least=0, at_most=1)
    ]
    chip_share: Annotated[
        float, Quantity("1", "accelerators' share of board power", above=0, at_most=1)
    ]
    shelf_load_points: Annotated[
        tuple[float, ...],
        ParameterDescription("rising loads of the shelves, share of their rating"),
    ]
    shelf_efficiency_points: Annotated[
        tuple[float, ...], ParameterDescription("efficiency of the shelves at these loads")
    ]
    shelf_rating: Annotated[
        float, Quantity("MW", "rated output of all power shelves of a rack", above=0)
    ]
    board_efficiency: Annotated[
        float, Quantity("1", "efficiency of the board's regulators", above=0.5, at_most=1)
    ]
    chip_flow: Annotated[
        float, Quantity("m3 h-1", "coolant flow through one cold plate, if any", at_least=0)
    ] = 0.0
    plate_flow_points: Annotated[
        tuple[float, ...],
        ParameterDescription("rising flows through one cold plate, in l/min"),
    ] = heat_exchangers.OCP_PLATE_POINTS[0]
    plate_resistance_points: Annotated[
        tuple[float, ...],
        ParameterDescription("resistance from case to coolant inlet at these flows, in K/W"),
    ] = heat_exchangers.OCP_PLATE_POINTS[1]
    flow_temperature_points: Annotated[
        tuple[float, ...],
        ParameterDescription("rising inlet temperatures of the flow rule of a rack, in degC"),
    ] = ()
    rack_flow_points: Annotated[
        tuple[float, ...],
        ParameterDescription("flow that a rack needs at full load at these, rising, in l/min"),
    ] = ()
    air_resistance: Annotated[
        float,
        Quantity("K W-1", "thermal resistance from case to inlet air, if air-cooled", at_least=0),
    ] = 0.0
    chip_power: (
        Annotated[float, Quantity("MW", "maximum power of one accelerator", above=0)] | None
    ) = None
    chip_power_least: (
        Annotated[float, Quantity("MW", "lowest power cap of one accelerator", above=0)] | None
    ) = None
    chip_temperature_limit: Annotated[
        float, Quantity("degC", "maximum case temperature", above=30, below=120)
    ]
    inlet_temperature_limit: Annotated[
        float, Quantity("degC", "maximum air temperature at the racks", above=15, below=45)
    ]
    power_factor_error: Annotated[
        float, Quantity("1", "ratio of true to declared draw", above=0.5, below=2)
    ] = 1.0
    chassis: Chassis | None = None
    smoothing: PowerSmoothingSettings = PowerSmoothingSettings()

    @model_validator(mode="after")
    def _check_chassis_power(self) -> Self:
        if self.chassis is None:
            return self
        if self.chips_per_rack != self.chassis.chip_count:
            raise ValueError(f"chips_per_rack must be {self.chassis.chip_count}, as in its chassis")
        for key, load_share in (("rack_idle_power", 0.0), ("rack_power", 1.0)):
            power = float(self.chassis.cabinet_power(load_share, load_share))
            if abs(getattr(self, key) - power) > CHASSIS_POWER_TOLERANCE * power:
                raise ValueError(f"{key} must be {power:.6g} MW, the draw of its chassis")
        return self

    @model_validator(mode="after")
    def _check_power_range(self) -> Self:
        if self.rack_idle_power >= self.rack_power:
            raise ValueError("rack_idle_power must be below rack_power")
        check_efficiency_points(self.shelf_load_points, self.shelf_efficiency_points, "shelf_")
        return self

    @model_validator(mode="after")
    def _check_cooling(self) -> Self:
        if (self.chip_flow > 0.0) == (self.air_resistance > 0.0):
            raise ValueError("give chip_flow if coolant cools the chips, otherwise air_resistance")
        if self.is_air_cooled is (self.liquid_share > 0.0):
            message = "liquid_share must be 0 for air-cooled chips, above 0 for liquid-cooled ones"
            raise ValueError(message)
        flows, resistances = self.plate_flow_points, self.plate_resistance_points
        is_rising = all(0.0 < low < high for low, high in pairwise(flows))
        is_falling = all(low >= high > 0.0 for low, high in pairwise(resistances))
        if len(flows) != len(resistances) or len(flows) < MIN_CURVE_POINTS:
            raise ValueError(
                "plate_flow_points and plate_resistance_points must have 2 or more points each"
            )
        if not (is_rising and is_falling):
            message = "plate_flow_points must rise from above 0, plate_resistance_points fall"
            raise ValueError(message)
        self._check_flow_rule()
        minimum, maximum = self.chip_power_least, self.chip_power
        if minimum is not None and (maximum is None or minimum >= maximum):
            raise ValueError("chip_power_least must be below chip_power")
        return self

    def _check_flow_rule(self) -> None:
        """Raise ValueError if the points of the flow rule are not rising pairs."""
        temperatures, flows = self.flow_temperature_points, self.rack_flow_points
        if not temperatures and not flows:
            return
        is_rising = all(
            low < high for points in (temperatures, flows) for low, high in pairwise(points)
        )
        is_curve = len(temperatures) == len(flows) >= MIN_CURVE_POINTS
        if self.is_air_cooled or not (is_curve and is_rising and flows[0] > 0.0):
            raise ValueError(
                "flow_temperature_points and rack_flow_points must have 2 or more rising points "
                "each, in a hall whose chips coolant cools"
            )

    @property
    def is_air_cooled(self) -> bool:
        """Whether air alone cools the chips."""
        return self.air_resistance > 0.0

    @property
    def min_capped_power(self) -> float | None:
        """Power of a rack at full load with its accelerators at the lowest cap. [MW]"""
        if self.chip_power is None or self.chip_power_least is None:
            return None
        board = self.chip_share * self.chip_power_least / self.chip_power + 1.0 - self.chip_share
        return self.rack_power * board

    @property
    def full_power(self) -> float:
        """Draw of the hall with every rack at full load. [MW]"""
        return self.racks * self.rack_power

    @property
    def idle_power(self) -> float:
        """Draw of the hall with every rack idle. [MW]"""
        return self.racks * self.rack_idle_power

    def relations(self) -> tuple[Relation, ...]:
        """Return the flexible load and the cooling that it needs."""
        shares = {"liquid": self.liquid_share, "air": 1.0 - self.liquid_share}
        return (
            FlexibleLoad(
                owner=self.name,
                carrier="rack",
                racks=self.racks,
                idle_power=self.rack_idle_power,
                full_power=self.rack_power,
                heat_shares={carrier: share for carrier, share in shares.items() if share > 0.0},
            ),
        )

    def chip_supply_power(self, hall_power: FloatArray) -> FloatArray:
        """Return the power at the supply pins of the chips, from the power at the rack inlets. [MW]

        The loss of the shelves is taken at the share of their input instead of their output; the
        flat curve keeps the efficiency within 0.3 points.
        """
        rating = self.racks * self.shelf_rating
        points = tuple(zip(self.shelf_load_points, self.shelf_efficiency_points, strict=True))
        loss = rating * electrical_equipment.loss_from_efficiency(
            np.asarray(hall_power) / rating, points
        )
        return np.asarray((hall_power - loss) * self.board_efficiency)

    def accelerator_power(self, busy_power: FloatArray | float) -> FloatArray:
        """Return the power of one accelerator from the draw of its working rack. [MW]

        It is 0 where the power shelves of the rack use more than the rack draws.
        """
        board = self.chip_supply_power(np.asarray(busy_power) * self.racks) / self.racks
        return np.asarray(np.maximum(board, 0.0) * self.chip_share / self.chips_per_rack)

    def plate_resistance(self, flow_share: FloatArray | float) -> FloatArray:
        """Return the resistance of a cold plate at a flow over the declared one [1]. [K W-1]"""
        litres = self.chip_flow * L_MIN_PER_M3_H * flow_share
        points = self.plate_flow_points, self.plate_resistance_points
        return np.asarray(heat_exchangers.cold_plate_resistance(litres, points=points))

    def widest_coolant_range(
        self, inlet_temperature: FloatArray | float, liquid: fluid_flow.Liquid
    ) -> FloatArray:
        """Return the temperature rise of the coolant at the flow rule; infinite without one. [K]

        ``inlet_temperature`` is that of the coolant into the racks [degC]. Outside of its points
        the rule has the flow of the nearest.
        """
        if not self.rack_flow_points:
            return np.full(np.shape(inlet_temperature), np.inf)
        flow = np.interp(inlet_temperature, self.flow_temperature_points, self.rack_flow_points)
        return np.asarray(self._full_heat_kw / (flow * _heat_per_litre(liquid)))

    def warmest_coolant(self, coolant_range: float, liquid: fluid_flow.Liquid) -> float:
        """Return the warmest coolant at which a range gives the flow of the rule. [degC]

        ``coolant_range`` is the temperature rise of the coolant at full load [K]. The result is
        infinite without a rule, and at most the last temperature of the rule.
        """
        if not self.rack_flow_points:
            return np.inf
        flow = self._full_heat_kw / (coolant_range * _heat_per_litre(liquid))
        if flow < self.rack_flow_points[0]:
            return -np.inf
        return float(np.interp(flow, self.rack_flow_points, self.flow_temperature_points))

    @property
    def _full_heat_kw(self) -> float:
        """Heat of a rack at full load to its coolant. [kW]"""
        return self.rack_power * self.liquid_share * KW_PER_MW

    def chip_temperature(
        self,
        busy_power: FloatArray | float,
        technology_supply_temperature: FloatArray | float,
        *,
        flow_share: FloatArray | float = 1.0,
    ) -> FloatArray:
        """Return the case temperature of a chip in a working rack. [degC]

        ``busy_power`` is the draw of the rack [MW]; ``technology_supply_temperature`` is that of
        the coolant at the cold plates, or of the air at the racks [degC]; ``flow_share`` is coolant
        flow over the declared one [1].
        """
        chip = self.accelerator_power(busy_power) * W_PER_MW
        if self.is_air_cooled:
            return np.asarray(technology_supply_temperature + self.air_resistance * chip)
        return np.asarray(technology_supply_temperature + self.plate_resistance(flow_share) * chip)


def _heat_per_litre(liquid: fluid_flow.Liquid) -> float:
    """Return the heat that 1 l/min of a coolant carries per kelvin. [kW min L-1 K-1]"""
    density = fluid_flow.density(COOLANT_TEMPERATURE_C, liquid)  # g/L
    return float(density * fluid_flow.heat_capacity(COOLANT_TEMPERATURE_C, liquid) / 60e3)


def _converter_input(converter: PowerConverter, output: FloatArray) -> FloatArray:
    return np.asarray(
        electrical_equipment.conversion_power(
            output, converter.efficiency, offset=converter.own_power
        )
    )
