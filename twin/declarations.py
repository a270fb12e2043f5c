"""How a site is laid out against failures: what stands by, how fast it starts, what holds heat.

What set points of the water must keep to, and whether a site uses any but the declared ones.

Routes of a fleet: which work may move from where to where, how fast, and what its data costs.

Kinds of work: how much they yield at a power cap, how long they may wait, what a pause costs.
"""

from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.cooling_plant import CoolingLoop
from twin.physics import FloatArray
from twin.units import Declaration, ParameterDescription, Quantity


class SetPointRules(Declaration):
    """How the set points of the water are chosen: declared and constant, or the cheapest safe ones.

    Rules with a number of their own source are those of one measured exascale plant; the others are
    assumptions.
    """

    choice: Annotated[
        Literal["declared", "temperature", "cheapest"],
        ParameterDescription("what plans choose: nothing, the supply temperature, or flows too"),
    ] = "declared"
    chip_spread: Annotated[
        float, Quantity("K", "hottest chip above the one that is modelled", at_least=0, below=20)
    ] = 3.0
    reserve: Annotated[
        float, Quantity("K", "kept below temperature limits beside the margin", at_least=0)
    ] = 1.0
    hall_dew_point: Annotated[
        float, Quantity("degC", "highest dew point that the halls are held to", below=30)
    ] = 15.0
    dew_point_distance: Annotated[
        float, Quantity("K", "least coolant temperature above the dew point", at_least=0)
    ] = 2.0
    temperature_ramp: Annotated[
        float, Quantity("K min-1", "fastest change of a supply temperature", above=0)
    ] = 0.1
    swing: Annotated[
        float, Quantity("1", "rise of heat before flow follows, share of rating", at_least=0)
    ] = 0.2
    pumps: Annotated[
        int, Quantity("1", "equal pumps of a circuit, of which one may trip", at_least=2)
    ] = 4
    widest_range: Annotated[
        float, Quantity("1", "greatest temperature range beside the declared", at_least=1, below=4)
    ] = 1.5
    coolant_range: Annotated[
        float, Quantity("1", "greatest coolant range beside the declared", at_least=1, below=3)
    ] = 1.2
    electricity_price: Annotated[
        float, Quantity("EUR MWh-1", "price of electricity against that of water", above=0)
    ] = 80.0


_SECONDS = 3600.0  # in an hour


class ResilienceSettings(Declaration):
    """What stands by when a machine fails, and what keeps temperatures from jumping.

    What names no source is an assumption of ours, made for a plant with one machine to spare; a
    site file says otherwise in its table ``[contingency]``.

    References
    ----------
    .. [1] P. Lin, S. Zhang, and J. VanGilder, "Data center temperature rise during a cooling system
       outage," Schneider Electric, White Paper 179. Chilled pumps and fans on the UPS; chillers
       come back minutes after their supply. (secondary)
    .. [2] K. Khankari, "Rate of heating analysis of data centers during power shutdown," ASHRAE
       Trans., vol. 117, no. 1, LV-11-C026, 2011. Racks hold more heat than the air of the hall.
    .. [3] The project's physics notes, section 2: plate 2 s, pump of a CDU 30 s, valve 120 s, steps
       of the facility flow 10 to 15 min.
    """

    # what is promised
    least_time: Annotated[
        float,
        Quantity(
            "s",
            "least time to a limit after one of several machines alike fails, at any moment of a "
            "schedule; by default that in which a chiller on standby starts",
            at_least=0,
        ),
    ] = 300.0
    # heat that is held
    plate_lag: Annotated[
        float, Quantity("s", "time constant of a cold plate at its rated flow [3]", above=0)
    ] = 2.0
    coolant_residence: Annotated[
        float, Quantity("s", "coolant of a CDU and its racks over its rated flow", above=0)
    ] = 30.0
    hall_volume: Annotated[float, Quantity("m3", "air of the hall for each rack", above=0)] = 17.0
    hall_mass_factor: Annotated[
        float, Quantity("1", "heat held by air and racks, beside the air alone [2]", at_least=1)
    ] = 4.0
    valve_lag: Annotated[
        float, Quantity("s", "lag of a plant's valves where its loop names none [3]", above=0)
    ] = 120.0
    flow_step: Annotated[
        float, Quantity("s", "time after which the facility flow takes its next step [3]", above=0)
    ] = 600.0
    throttle_margin: Annotated[
        float, Quantity("K", "distance to the case limit at which a chip slows down", at_least=0)
    ] = 2.0
    # coolant
    cdu_group: Annotated[
        int, Quantity("1", "CDUs on one manifold, which share the heat of its racks", at_least=1)
    ] = 8
    cdu_pump_flow: Annotated[
        float, Quantity("1", "flow of a CDU with one pump out", at_least=0, at_most=1)
    ] = 0.7
    cdu_ramp: Annotated[
        float, Quantity("s", "time in which the other pumps speed up [3]", at_least=0)
    ] = 30.0
    # plants
    pumps: Annotated[int, Quantity("1", "duty pumps of a circuit", at_least=1)] = 4
    standby_pumps: Annotated[int, Quantity("1", "pumps of a circuit that stand by", at_least=0)] = 1
    pump_start: Annotated[
        float, Quantity("s", "until a pump on standby gives its flow", at_least=0)
    ] = 30.0
    chiller_start: Annotated[
        float, Quantity("s", "until a chiller that stood still gives its cooling", at_least=0)
    ] = 300.0
    tank_start: Annotated[
        float, Quantity("s", "until a tank gives what the plant lacks", at_least=0)
    ] = 60.0
    # supply
    power_gap: Annotated[
        float, Quantity("s", "until plants have power again after their supply fails", at_least=0)
    ] = 30.0
    ride_through: Annotated[
        float,
        Quantity(
            "1",
            "share of the facility flow that stays meanwhile, by the UPS [1]",
            at_least=0,
            at_most=1,
        ),
    ] = 1.0
    chiller_stage: Annotated[
        float, Quantity("s", "between the starts of two chillers after that", at_least=0)
    ] = 60.0
    ups_block: Annotated[float, Quantity("MW", "rating of one block of the UPS", above=0)] = 2.5
    ups_autonomy: Annotated[
        float, Quantity("s", "for which the UPS carries its load alone", at_least=0)
    ] = 300.0

    def valve_time_constant(self, loop: CoolingLoop) -> float:
        """Return the lag of the valves of a circuit: its loop's own, where it names one. [h]"""
        return (loop.valve_lag or self.valve_lag) / _SECONDS


class FleetRoute(Declaration):
    """Work of one kind that may move between sites.

    What may cross which border is law, not economics: a route names the sites that work may leave,
    and those that may take it in. Work may have several routes.

    Attributes
    ----------
    kind
        Kind of work, as the sites call it.
    origins, hosts
        Sites that it may leave, and that may take it in; all that know the kind if left out.
    """

    kind: str
    origins: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None
    transfer_time: Annotated[
        float, Quantity("h", "time from leaving one site to being ready at another", at_least=0)
    ] = 1.0
    window: Annotated[
        float, Quantity("h", "time after arrival within which moved work is done", above=0)
    ] = 6.0
    job_length: Annotated[
        float, Quantity("h", "length of a job, uncapped: a job runs on its own racks", above=0)
    ] = 1.0
    cost: Annotated[
        float, Quantity("EUR MWh-1", "cost of moving a MWh of work, data apart", at_least=0)
    ] = 0.0
    data: Annotated[
        float, Quantity("GB MWh-1", "data that moves with a MWh of work", at_least=0)
    ] = 0.0
    data_price: Annotated[float, Quantity("EUR GB-1", "price of moving data", at_least=0)] = 0.0

    @property
    def transfer_cost(self) -> float:
        """Cost of moving a MWh of work with its data. [EUR MWh-1]"""
        return self.cost + self.data * self.data_price


SLOPE_TOLERANCE: Final = 1e-9
"""Rise of a slope that is taken for rounding of its two points. [1]"""

HOURS_PER_DAY: Final = 24
"""Hours of a day. [1]"""


class Throughput(Declaration):
    """Throughput of a rack against its power, both as shares of the uncapped rack."""

    power_points: Annotated[tuple[float, ...], ParameterDescription("rising powers, the last 1")]
    work_points: Annotated[
        tuple[float, ...], ParameterDescription("throughput at these powers, the last 1")
    ]

    @model_validator(mode="after")
    def _is_concave(self) -> Self:
        power, work = np.array(self.power_points), np.array(self.work_points)
        if len(power) != len(work) or len(power) <= 1:
            message = "power_points and work_points must have the same length, at least two"
            raise ValueError(message)
        slopes = np.diff(work) / np.diff(power)
        if (
            (np.diff(power) <= 0).any()
            or (slopes < 0).any()
            or (np.diff(slopes) > SLOPE_TOLERANCE).any()
        ):
            message = "work must rise with power, ever more slowly"
            raise ValueError(message)
        if power[-1] != 1.0 or work[-1] != 1.0:
            message = "the last point must be the uncapped rack: power 1, work 1"
            raise ValueError(message)
        return self

    def work(self, power_share: FloatArray | float) -> FloatArray:
        """Return the throughput at a power cap, both as shares of the uncapped rack. [1]"""
        return np.asarray(np.interp(power_share, self.power_points, self.work_points))

    def power(self, work_share: FloatArray | float) -> FloatArray:
        """Return the least power that gives a throughput, both as shares. [1]"""
        return np.asarray(np.interp(work_share, self.work_points, self.power_points))


class WorkKind(Declaration):
    """A kind of movable work and what it tolerates."""

    name: str
    slack: Annotated[float, Quantity("1", "wait allowed, as a multiple of the length", at_least=0)]
    tolerance: Annotated[
        float, Quantity("1", "loss of throughput tolerated under a cap", at_least=0, below=1)
    ]
    longer_than: Annotated[
        float, Quantity("h", "jobs at least this long belong to this kind", at_least=0)
    ] = 0.0
    pause_loss: Annotated[
        float, Quantity("h", "work lost by a pause, since the last checkpoint", at_least=0)
    ] = 0.0
    minimum_run: Annotated[
        float, Quantity("h", "a started job runs at least this long", at_least=0)
    ] = 0.0
    pause_time: (
        Annotated[
            float,
            Quantity("min", "in which racks stop when asked to; none: holds no reserves", above=0),
        ]
        | None
    ) = None
    throughput: Throughput

    @model_validator(mode="after")
    def _may_pause(self) -> Self:
        if self.pause_time is not None and self.minimum_run > 0.0:
            message = "a kind with a minimum_run cannot pause at any time: leave pause_time out"
            raise ValueError(message)
        return self

    @property
    def min_power_share(self) -> float:
        """Power share of the deepest cap that the tolerance allows. [1]"""
        return float(self.throughput.power(1.0 - self.tolerance))


class InferenceService(Declaration):
    """Inference that follows people's days and must be served whenever it is asked for."""

    racks: Annotated[float, Quantity("1", "racks busy at the daily peak", at_least=0)]
    daily_shape: Annotated[
        tuple[float, ...],
        ParameterDescription(
            "24 shares of `racks`, one for each hour of the site's clock from midnight"
        ),
    ]
    weekend_share: Annotated[
        float, Quantity("1", "demand on a weekend beside a working day", above=0, at_most=2)
    ] = 1.0

    @model_validator(mode="after")
    def _has_a_day(self) -> Self:
        shape = self.daily_shape
        if len(shape) != HOURS_PER_DAY or not all(0 <= share <= 1 for share in shape):
            here = f"here are {len(shape)}, of {min(shape, default=0)} to {max(shape, default=0)}"
            message = f"daily_shape must be 24 shares between 0 and 1, one per local hour; {here}"
            raise ValueError(message)
        return self


class ObjectiveWeights(Declaration):
    """What a decision minimises beside money."""

    carbon: Annotated[float, Quantity("EUR kg-1", "price put on carbon", at_least=0)] = 0.0
    water: Annotated[float, Quantity("EUR m-3", "price of water", at_least=0)] = 0.0
    lateness: Annotated[
        float, Quantity("EUR MWh-1", "price of a MWh of work not done when due", above=0)
    ] = 200.0


class SafetyMargins(Declaration):
    """How far a plan stays from the limits, since the plant differs from the model."""

    power: Annotated[float, Quantity("1", "share of power limits kept free", at_least=0)] = 0.02
    peak: Annotated[float, Quantity("1", "share of the running peak kept free", at_least=0)] = 0.03
    temperature: Annotated[float, Quantity("K", "kept below temperature limits", at_least=0)] = 1.0
    level: Annotated[float, Quantity("1", "share of stores kept free at both ends", at_least=0)] = (
        0.02
    )


class ScenarioSettings(Declaration):
    """How many courses of prices, weather and arrivals a plan weighs beside the forecast."""

    count: Annotated[
        int,
        Quantity(
            "1",
            "courses that a decision is weighed over; 0 plans for the forecast alone",
            at_least=0,
            at_most=30,
        ),
    ] = 0
