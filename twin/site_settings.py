"""Declarations of a site beside its equipment: set points, resilience, routes, work and weights."""

from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.cooling_plant import CoolingLoop
from twin.physics import FloatArray
from twin.units import HOURS_PER_DAY, SECONDS_PER_HOUR, Declaration, ParameterDescription, Quantity


class SetPointRules(Declaration):
    """How the water set points are chosen: as declared, or the cheapest safe ones.

    Values with a source of their own come from a measured exascale plant; the others are
    assumptions.
    """

    choice: Annotated[
        Literal["declared", "temperature", "cheapest"],
        ParameterDescription("what plans choose: nothing, supply temperatures, or also flows"),
    ] = "declared"
    chip_spread: Annotated[
        float, Quantity("K", "hottest chip above the modelled one", at_least=0, below=20)
    ] = 3.0
    reserve: Annotated[
        float, Quantity("K", "distance below temperature limits, besides the margin", at_least=0)
    ] = 1.0
    hall_dew_point: Annotated[
        float, Quantity("degC", "maximum dew point in the halls", below=30)
    ] = 15.0
    dew_point_distance: Annotated[
        float, Quantity("K", "minimum difference of coolant and dew point", at_least=0)
    ] = 2.0
    temperature_ramp: Annotated[
        float, Quantity("K min-1", "maximum change of a supply temperature", above=0)
    ] = 0.1
    swing: Annotated[
        float, Quantity("1", "heat rise before the flow responds, share of rating", at_least=0)
    ] = 0.2
    pumps: Annotated[int, Quantity("1", "equal pumps of a circuit; one may trip", at_least=2)] = 4
    widest_range: Annotated[
        float, Quantity("1", "maximum temperature range over the declared one", at_least=1, below=4)
    ] = 1.5
    coolant_range: Annotated[
        float, Quantity("1", "maximum coolant range over the declared one", at_least=1, below=3)
    ] = 1.2
    electricity_price: Annotated[
        float, Quantity("EUR MWh-1", "price of electricity, to compare with that of water", above=0)
    ] = 80.0


class ResilienceSettings(Declaration):
    """Standby equipment, start times and heat capacities that matter after a failure.

    Values without a source are assumptions for a plant with one spare machine. A site file changes
    them in its table ``[contingency]``.

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

    # requirement
    least_time: Annotated[
        float,
        Quantity(
            "s",
            "minimum time to a limit after the failure of one of several equal machines, at any "
            "moment; default: start time of a standby chiller",
            at_least=0,
        ),
    ] = 300.0
    # heat capacities
    plate_lag: Annotated[
        float, Quantity("s", "time constant of a cold plate at its rated flow [3]", above=0)
    ] = 2.0
    coolant_residence: Annotated[
        float, Quantity("s", "coolant volume of a CDU and its racks over rated flow", above=0)
    ] = 30.0
    hall_volume: Annotated[float, Quantity("m3", "air volume of the hall per rack", above=0)] = 17.0
    hall_mass_factor: Annotated[
        float, Quantity("1", "heat capacity of air and racks over that of air [2]", at_least=1)
    ] = 4.0
    valve_lag: Annotated[
        float, Quantity("s", "valve lag of a plant whose loop declares 0 [3]", above=0)
    ] = 120.0
    flow_step: Annotated[
        float, Quantity("s", "time between two steps of the facility flow [3]", above=0)
    ] = 600.0
    throttle_margin: Annotated[
        float, Quantity("K", "distance to the case limit at which a chip throttles", at_least=0)
    ] = 2.0
    # coolant
    cdu_group: Annotated[
        int, Quantity("1", "CDUs on one manifold that share the heat of its racks", at_least=1)
    ] = 8
    cdu_pump_flow: Annotated[
        float, Quantity("1", "flow share of a CDU with one failed pump", at_least=0, at_most=1)
    ] = 0.7
    cdu_ramp: Annotated[
        float, Quantity("s", "time in which the other pumps speed up [3]", at_least=0)
    ] = 30.0
    # plants
    pumps: Annotated[int, Quantity("1", "duty pumps of a circuit", at_least=1)] = 4
    standby_pumps: Annotated[int, Quantity("1", "standby pumps of a circuit", at_least=0)] = 1
    pump_start: Annotated[
        float, Quantity("s", "time until a standby pump delivers its flow", at_least=0)
    ] = 30.0
    chiller_start: Annotated[
        float, Quantity("s", "time until a stopped chiller delivers its cooling", at_least=0)
    ] = 300.0
    tank_start: Annotated[
        float, Quantity("s", "time until a tank replaces missing cooling", at_least=0)
    ] = 60.0
    # supply
    power_gap: Annotated[
        float, Quantity("s", "time until plants have power after a supply failure", at_least=0)
    ] = 30.0
    ride_through: Annotated[
        float,
        Quantity(
            "1",
            "share of the facility flow that the UPS maintains meanwhile [1]",
            at_least=0,
            at_most=1,
        ),
    ] = 1.0
    chiller_stage: Annotated[
        float, Quantity("s", "time between the starts of two chillers afterwards", at_least=0)
    ] = 60.0
    ups_block: Annotated[float, Quantity("MW", "rating of one block of the UPS", above=0)] = 2.5
    ups_autonomy: Annotated[
        float, Quantity("s", "time for which the UPS carries its load", at_least=0)
    ] = 300.0

    def valve_time_constant(self, loop: CoolingLoop) -> float:
        """Return the valve lag of a circuit, by default that of these settings. [h]"""
        return (loop.valve_lag or self.valve_lag) / SECONDS_PER_HOUR


class FleetRoute(Declaration):
    """Permission to move work of one kind between sites.

    A route names the sites that work may leave and the sites that may accept it, because law limits
    transfers. Work may have several routes.

    - `kind`: kind of work, as named by the sites.
    - `origins`, `hosts`: sites that work may leave, and that may accept it; by default all with
      this kind.
    """

    kind: str
    origins: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None
    transfer_time: Annotated[
        float, Quantity("h", "time from departure to readiness at the other site", at_least=0)
    ] = 1.0
    window: Annotated[
        float, Quantity("h", "time after arrival within which moved work must be done", above=0)
    ] = 6.0
    job_length: Annotated[float, Quantity("h", "uncapped length of a job", above=0)] = 1.0
    cost: Annotated[
        float, Quantity("EUR MWh-1", "cost of moving a MWh of work, without data", at_least=0)
    ] = 0.0
    data: Annotated[float, Quantity("GB MWh-1", "data moved with a MWh of work", at_least=0)] = 0.0
    data_price: Annotated[float, Quantity("EUR GB-1", "price of moving data", at_least=0)] = 0.0

    @property
    def transfer_cost(self) -> float:
        """Cost of moving a MWh of work with its data. [EUR MWh-1]"""
        return self.cost + self.data * self.data_price


SLOPE_TOLERANCE: Final = 1e-9
"""Rise of a slope that counts as rounding. [1]"""


class Throughput(Declaration):
    """Throughput of a rack over its power, both as shares of the uncapped rack."""

    power_points: Annotated[tuple[float, ...], ParameterDescription("rising powers, the last 1")]
    work_points: Annotated[
        tuple[float, ...], ParameterDescription("throughput at these powers, the last 1")
    ]

    @model_validator(mode="after")
    def _check_concave(self) -> Self:
        power, work = np.array(self.power_points), np.array(self.work_points)
        if len(power) != len(work) or len(power) <= 1:
            raise ValueError("power_points and work_points must have the same length, at least two")
        slopes = np.diff(work) / np.diff(power)
        if (
            (np.diff(power) <= 0).any()
            or (slopes < 0).any()
            or (np.diff(slopes) > SLOPE_TOLERANCE).any()
        ):
            raise ValueError("work_points must rise with power, with falling slopes")
        if power[-1] != 1.0 or work[-1] != 1.0:
            raise ValueError("the last point must be the uncapped rack: power 1, work 1")
        return self

    def throughput_at(self, power_share: FloatArray | float) -> FloatArray:
        """Return the throughput at a power cap, both as shares of the uncapped rack. [1]"""
        return np.asarray(np.interp(power_share, self.power_points, self.work_points))

    def min_power_for(self, work_share: FloatArray | float) -> FloatArray:
        """Return the minimum power for a throughput, both as shares. [1]"""
        return np.asarray(np.interp(work_share, self.work_points, self.power_points))


class WorkKind(Declaration):
    """A kind of movable work and what it tolerates."""

    name: str
    slack: Annotated[
        float, Quantity("1", "allowed waiting time, as a multiple of the length", at_least=0)
    ]
    tolerance: Annotated[
        float, Quantity("1", "tolerated loss of throughput under a cap", at_least=0, below=1)
    ]
    longer_than: Annotated[
        float, Quantity("h", "jobs at least this long belong to this kind", at_least=0)
    ] = 0.0
    pause_loss: Annotated[
        float, Quantity("h", "work lost by a pause since the last checkpoint", at_least=0)
    ] = 0.0
    minimum_run: Annotated[
        float, Quantity("h", "minimum time that a started job runs", at_least=0)
    ] = 0.0
    pause_time: (
        Annotated[
            float,
            Quantity("min", "time to stop racks on request; default: no reserves", above=0),
        ]
        | None
    ) = None
    throughput: Throughput

    @model_validator(mode="after")
    def _check_pause(self) -> Self:
        if self.pause_time is not None and self.minimum_run > 0.0:
            message = "remove pause_time: a kind with a minimum_run cannot pause at any time"
            raise ValueError(message)
        return self

    @property
    def min_power_share(self) -> float:
        """Power share of the deepest cap within the tolerance. [1]"""
        return float(self.throughput.min_power_for(1.0 - self.tolerance))


class InferenceService(Declaration):
    """Inference that follows a daily pattern and must always be served."""

    racks: Annotated[float, Quantity("1", "racks busy at the daily peak", at_least=0)]
    daily_shape: Annotated[
        tuple[float, ...],
        ParameterDescription(
            "24 shares of `racks`, one for each hour of the site's clock from midnight"
        ),
    ]
    weekend_share: Annotated[
        float, Quantity("1", "weekend demand over that of a working day", above=0, at_most=2)
    ] = 1.0

    @model_validator(mode="after")
    def _check_daily_shape(self) -> Self:
        shape = self.daily_shape
        if len(shape) != HOURS_PER_DAY or not all(0 <= share <= 1 for share in shape):
            found = f"found {len(shape)} of {min(shape, default=0)} to {max(shape, default=0)}"
            message = f"daily_shape must be 24 shares between 0 and 1, one per local hour; {found}"
            raise ValueError(message)
        return self


class ObjectiveWeights(Declaration):
    """Weights of a decision's objective besides money."""

    carbon: Annotated[float, Quantity("EUR kg-1", "weight of carbon", at_least=0)] = 0.0
    water: Annotated[float, Quantity("EUR m-3", "weight of water", at_least=0)] = 0.0
    lateness: Annotated[float, Quantity("EUR MWh-1", "weight of overdue work", above=0)] = 200.0


class SafetyMargins(Declaration):
    """Distance of a plan from limits, because the plant differs from the model."""

    power: Annotated[float, Quantity("1", "share of power limits kept free", at_least=0)] = 0.02
    peak: Annotated[float, Quantity("1", "share of the running peak kept free", at_least=0)] = 0.03
    temperature: Annotated[
        float, Quantity("K", "distance below temperature limits", at_least=0)
    ] = 1.0
    level: Annotated[float, Quantity("1", "share of stores kept free at both ends", at_least=0)] = (
        0.02
    )


DEFAULT_SCENARIO_COUNT: Final = 3
"""Number of scenarios of a decision. [1]"""

MAX_SCENARIO_COUNT: Final = 30
"""Largest number of scenarios of a decision. [1]"""


class ScenarioSettings(Declaration):
    """Number of scenarios of prices, weather and arrivals in a plan.

    A service whose state folder is older than this default keeps its planner until the site file
    states a number.
    """

    count: Annotated[
        int,
        Quantity(
            "1",
            "scenarios of a decision; 0: only the forecast",
            at_least=0,
            at_most=MAX_SCENARIO_COUNT,
        ),
    ] = DEFAULT_SCENARIO_COUNT

    @property
    def is_stated(self) -> bool:
        """Whether the number is stated, and not the default."""
        return "count" in self.model_fields_set
