"""Halls of accelerator racks: from the rack's inlet to the board and the chip.

The chassis of an exascale cabinet: nodes behind converters, behind rectifiers that share.

Power smoothing of a rack: what its accelerators and its power shelves do about swings.
"""

import math
from typing import Annotated, ClassVar, Final, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.machine import Equipment, check_efficiency_points
from twin.physics import FloatArray, electrical_equipment, heat_exchangers
from twin.physics.load_swings import SmoothingModel
from twin.relations import FlexibleLoad, Relation
from twin.units import Declaration, ParameterDescription, Quantity

W_PER_MW: Final = 1e6
"""W in a MW."""

L_MIN_PER_M3_H: Final = 1000.0 / 60.0
"""l/min in a m3/h."""

CHASSIS_POWER_TOLERANCE: Final = 1e-3
"""Share by which declared rack powers may miss what the rack's chassis draw. [1]"""


class PowerConverter(Declaration):
    """A converter that uses a fixed power and a share of what it draws."""

    own_power: Annotated[float, Quantity("MW", "used at every load", at_least=0)]
    efficiency: Annotated[
        float, Quantity("1", "output and own power over input", above=0.5, at_most=1)
    ]


class ComputeNode(Declaration):
    """One node: processors between idle and full, and what draws the same always."""

    cpus: Annotated[int, Quantity("1", "number of CPUs", at_least=0)]
    cpu_idle: Annotated[float, Quantity("MW", "draw of a CPU that waits", at_least=0)]
    cpu_full: Annotated[float, Quantity("MW", "draw of a CPU at full work", at_least=0)]
    gpus: Annotated[int, Quantity("1", "number of accelerators", at_least=0)]
    gpu_idle: Annotated[float, Quantity("MW", "draw of an accelerator that waits", at_least=0)]
    gpu_full: Annotated[float, Quantity("MW", "draw of an accelerator at full work", at_least=0)]
    memory: Annotated[float, Quantity("MW", "draw of the memory", at_least=0)]
    network: Annotated[float, Quantity("MW", "draw of all network cards", at_least=0)]
    storage: Annotated[float, Quantity("MW", "draw of the local storage", at_least=0)]

    def power(self, cpu_share: FloatArray | float, gpu_share: FloatArray | float) -> FloatArray:
        """Return the power of a node at shares of its processors' ranges. [MW]"""
        cpu = self.cpu_idle + cpu_share * (self.cpu_full - self.cpu_idle)
        gpu = self.gpu_idle + gpu_share * (self.gpu_full - self.gpu_idle)
        fixed = self.memory + self.network + self.storage
        return np.asarray(self.cpus * cpu + self.gpus * gpu + fixed)


class Chassis(Declaration):
    """Nodes and switches fed by rectifiers that share the load equally; a cabinet holds several."""

    count: Annotated[int, Quantity("1", "chassis in a cabinet", at_least=1)]
    nodes: Annotated[int, Quantity("1", "nodes in a chassis", at_least=1)]
    node: ComputeNode
    node_converter: PowerConverter
    switches: Annotated[int, Quantity("1", "switches in a chassis", at_least=0)]
    switch: Annotated[float, Quantity("MW", "draw of one switch", at_least=0)]
    rectifiers: Annotated[int, Quantity("1", "rectifiers in a chassis", at_least=1)]
    rectifier: PowerConverter

    @property
    def chips(self) -> int:
        """Accelerators in a cabinet. [1]"""
        return self.count * self.nodes * self.node.gpus

    def cabinet_power(
        self, cpu_share: FloatArray | float, gpu_share: FloatArray | float
    ) -> FloatArray:
        r"""Return what a cabinet draws.

        Parameters
        ----------
        cpu_share, gpu_share
            Where the processors stand between idle, 0, and full, 1. [1]

        Returns
        -------
        numpy.ndarray
            Power at the inlets of the rectifiers. [MW]

        Notes
        -----
        Every converter draws :math:`(P + P_o) / \eta`, see
        :func:`twin.physics.electrical_equipment.conversion_power`.
        """
        node = _drawn(self.node_converter, self.node.power(cpu_share, gpu_share))
        shared = (self.nodes * node + self.switches * self.switch) / self.rectifiers
        return self.count * self.rectifiers * _drawn(self.rectifier, shared)


class PowerSmoothingSettings(Declaration):
    """Floor, ramps and hysteresis of a rack's accelerators, and the store of its power shelves.

    A floor burns what lies below it: it steadies a load and is never a reduction for sale.
    """

    floor: Annotated[
        float, Quantity("1", "power held while work runs, share of rack_power", at_least=0, below=1)
    ] = 0.0
    ramp_up: (
        Annotated[float, Quantity("MW s-1", "fastest rise of a rack's power", above=0)] | None
    ) = None
    ramp_down: (
        Annotated[float, Quantity("MW s-1", "fastest fall of a rack's power", above=0)] | None
    ) = None
    hysteresis: Annotated[
        float, Quantity("s", "time for which the floor is held after work", at_least=0, at_most=60)
    ] = 0.0
    storage: Annotated[
        float, Quantity("MJ", "energy in the store of a rack's power shelves", at_least=0)
    ] = 0.0

    @property
    def ramp_limits(self) -> tuple[float, float]:
        """Fastest rise and fall, infinite where none is declared. [MW s-1]"""
        up, down = self.ramp_up, self.ramp_down
        return math.inf if up is None else up, math.inf if down is None else down


class ITHall(Equipment):
    """The racks of one hall, all alike; every watt they draw leaves as heat."""

    kind: ClassVar[str] = "accelerators"

    racks: Annotated[int, Quantity("1", "number of racks", at_least=1)]
    chips_per_rack: Annotated[int, Quantity("1", "accelerators in a rack", at_least=1)] = 72
    rack_power: Annotated[float, Quantity("MW", "draw of one rack at full work", above=0)]
    rack_idle_power: Annotated[float, Quantity("MW", "draw of one rack that waits", at_least=0)]
    liquid_share: Annotated[
        float, Quantity("1", "share of the heat that leaves by liquid", at_least=0, at_most=1)
    ]
    chip_share: Annotated[
        float, Quantity("1", "share of board power that the accelerators use", above=0, at_most=1)
    ]
    shelf_load_points: Annotated[
        tuple[float, ...],
        ParameterDescription("rising loads of the shelves, share of their rating"),
    ]
    shelf_efficiency_points: Annotated[
        tuple[float, ...], ParameterDescription("their efficiency at these loads")
    ]
    shelf_rating: Annotated[
        float, Quantity("MW", "rated output of a rack's power shelves together", above=0)
    ]
    board_efficiency: Annotated[
        float, Quantity("1", "efficiency of the board's regulators", above=0.5, at_most=1)
    ]
    chip_flow: Annotated[
        float, Quantity("m3 h-1", "coolant through one accelerator's plate, if any", at_least=0)
    ] = 0.0
    air_resistance: Annotated[
        float, Quantity("K W-1", "case over inlet air, where air cools the chips", at_least=0)
    ] = 0.0
    chip_power: (
        Annotated[float, Quantity("MW", "greatest power of one accelerator", above=0)] | None
    ) = None
    chip_power_least: (
        Annotated[float, Quantity("MW", "least cap that one accelerator takes", above=0)] | None
    ) = None
    chip_temperature_limit: Annotated[
        float, Quantity("degC", "greatest case temperature", above=30, below=120)
    ]
    inlet_temperature_limit: Annotated[
        float, Quantity("degC", "greatest temperature of the air at the racks", above=15, below=45)
    ]
    power_factor_error: Annotated[
        float, Quantity("1", "true draw beside the declared one", above=0.5, below=2)
    ] = 1.0
    chassis: Chassis | None = None
    smoothing: PowerSmoothingSettings = PowerSmoothingSettings()

    @model_validator(mode="after")
    def _draws_what_its_chassis_draw(self) -> Self:
        if self.chassis is None:
            return self
        if self.chips_per_rack != self.chassis.chips:
            message = f"chips_per_rack must be the {self.chassis.chips} of its chassis"
            raise ValueError(message)
        for key, busy in (("rack_idle_power", 0.0), ("rack_power", 1.0)):
            drawn = float(self.chassis.cabinet_power(busy, busy))
            if abs(getattr(self, key) - drawn) > CHASSIS_POWER_TOLERANCE * drawn:
                message = f"{key} must be the {drawn:.6g} MW that its chassis draw"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _waits_below_full(self) -> Self:
        if self.rack_idle_power >= self.rack_power:
            message = "rack_idle_power must be below rack_power"
            raise ValueError(message)
        check_efficiency_points(self.shelf_load_points, self.shelf_efficiency_points, "shelf_")
        return self

    @model_validator(mode="after")
    def _is_cooled(self) -> Self:
        if (self.chip_flow > 0.0) == (self.air_resistance > 0.0):
            message = "give chip_flow where coolant cools the chips, or else air_resistance"
            raise ValueError(message)
        if self.is_air_cooled is (self.liquid_share > 0.0):
            message = "liquid_share must be 0 where air cools the chips, above 0 where coolant does"
            raise ValueError(message)
        least, most = self.chip_power_least, self.chip_power
        if least is not None and (most is None or least >= most):
            message = "chip_power_least must be below chip_power"
            raise ValueError(message)
        return self

    @property
    def is_air_cooled(self) -> bool:
        """Whether air cools the chips, without coolant."""
        return self.air_resistance > 0.0

    @property
    def min_capped_power(self) -> float | None:
        """Power of a rack at full work whose accelerators stand at their least cap. [MW]"""
        if self.chip_power is None or self.chip_power_least is None:
            return None
        board = self.chip_share * self.chip_power_least / self.chip_power + 1.0 - self.chip_share
        return self.rack_power * board

    def smoothing_model(self, racks: float = 1.0) -> SmoothingModel:
        """Return floor, ramps, hysteresis and store of some racks together. [1]"""
        smoothing = self.smoothing
        up, down = smoothing.ramp_limits
        return SmoothingModel(
            idle_power=racks * self.rack_idle_power,
            full_power=racks * self.rack_power,
            power_floor=racks * self.rack_power * smoothing.floor,
            ramp_up=racks * up,
            ramp_down=racks * down,
            hysteresis=smoothing.hysteresis,
            storage_energy=racks * smoothing.storage,
        )

    @property
    def full_power(self) -> float:
        """Draw of the hall with every rack at full work. [MW]"""
        return self.racks * self.rack_power

    @property
    def idle_power(self) -> float:
        """Draw of the hall with every rack waiting. [MW]"""
        return self.racks * self.rack_idle_power

    def relations(self) -> tuple[Relation, ...]:
        """Return the work and the cooling it calls for."""
        shares = {"liquid": self.liquid_share, "air": 1.0 - self.liquid_share}
        return (
            FlexibleLoad(
                owner=self.name,
                carrier="rack",
                racks=self.racks,
                idle_power=self.rack_idle_power,
                full_power=self.rack_power,
                heat={carrier: share for carrier, share in shares.items() if share > 0.0},
            ),
        )

    def board_power(self, hall_power: FloatArray) -> FloatArray:
        """Return the power that reaches the chips' own supply pins.

        Parameters
        ----------
        hall_power
            Power at the inlets of the hall's racks. [MW]

        Returns
        -------
        numpy.ndarray
            Power behind shelves and board regulators. [MW]

        Notes
        -----
        The shelves' loss is read at the share of their input instead of their output: the curve
        is flat enough there to keep the efficiency within 0.3 points.
        """
        rating = self.racks * self.shelf_rating
        points = tuple(zip(self.shelf_load_points, self.shelf_efficiency_points, strict=True))
        loss = rating * electrical_equipment.loss_from_efficiency(
            np.asarray(hall_power) / rating, points
        )
        return np.asarray((hall_power - loss) * self.board_efficiency)

    def accelerator_power(self, busy_power: FloatArray | float) -> FloatArray:
        """Return the power of one accelerator.

        Parameters
        ----------
        busy_power
            Draw of its rack. [MW]

        Returns
        -------
        numpy.ndarray
            Power. [MW]
        """
        board = self.board_power(np.asarray(busy_power) * self.racks) / self.racks
        return np.asarray(board * self.chip_share / self.chips_per_rack)

    def chip_temperature(
        self,
        busy_power: FloatArray | float,
        technology_supply_temperature: FloatArray | float,
        *,
        flow_share: FloatArray | float = 1.0,
    ) -> FloatArray:
        """Return the case temperature of a chip in a rack at some draw.

        Parameters
        ----------
        busy_power
            Draw of one working rack. [MW]
        technology_supply_temperature
            Coolant at the cold plates' inlets, or air at the racks' where air cools. [degC]
        flow_share
            Coolant through the plates over the declared flow. [1]

        Returns
        -------
        numpy.ndarray
            Case temperature. [degC]
        """
        chip = self.accelerator_power(busy_power) * W_PER_MW
        if self.is_air_cooled:
            return np.asarray(technology_supply_temperature + self.air_resistance * chip)
        litres = self.chip_flow * L_MIN_PER_M3_H * flow_share
        return np.asarray(
            heat_exchangers.cold_plate_case_temperature(
                chip, technology_supply_temperature, flow=litres
            )
        )


def _drawn(converter: PowerConverter, output: FloatArray) -> FloatArray:
    return np.asarray(
        electrical_equipment.conversion_power(
            output, converter.efficiency, offset=converter.own_power
        )
    )
