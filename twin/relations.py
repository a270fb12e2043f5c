"""What equipment and contracts may do to a carrier: six relations, the house's only grammar.

The twin runs relations, the optimiser compiles them; neither knows the machines behind them. Each
carrier has an energy sign: electricity and heat for others are +1, cooling is -1 (to deliver
cooling is to take heat), water is 0. Every conversion closes: the signed draws equal the signed
output plus the heat that leaves the site.

Promises about sums of flows: what is promised, over which windows, what a deviation costs.

A charge on the greatest value of a flow, and the peaks in which a plan counts it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.weather import Weather

CARRIER_ENERGY_SIGN: Final = {
    "grid": 1.0,
    "busbar": 1.0,
    "medium_voltage": 1.0,
    "critical": 1.0,
    "rack": 1.0,
    "liquid": -1.0,
    "air": -1.0,
    "warm": -1.0,
    "chilled": -1.0,
    "heat": 1.0,
    "water": 0.0,
}
"""Carriers of a site and the sign with which they enter an energy balance."""

BIDIRECTIONAL_CARRIERS: Final = ("medium_voltage", "busbar")
"""Carriers that reach the grid: what delivers them bears power backwards too."""


@dataclass(frozen=True, kw_only=True)
class ConversionFlows:
    """What a conversion draws and gives at some output.

    Attributes
    ----------
    inputs
        Carrier -> what is drawn of it, on the axes of the output. [MW; m3 h-1 for water]
    heat
        Heat given to the surroundings of the site. [MW]
    details
        ``<kind>_<role>`` of the vocabulary -> its values, for people to read.
    """

    inputs: Mapping[str, FloatArray]
    heat: FloatArray
    details: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SetPoints:
    """What the water of a site is held at, on ``time``; what is missing stays as declared.

    Attributes
    ----------
    supply_temperature
        Cooling plant -> temperature of its supply water. [degC]
    temperature_range
        Cooling plant -> return less supply temperature, which the flow follows. [K]
    technology_range
        Bank of CDUs -> warming of the coolant in the racks, which its pumps follow. [K]
    minimum_flow
        Cooling plant or bank of CDUs -> share of its rated flow below which it does not fall. [1]
    units_on
        Cooling plant -> chillers that run; more do where these cannot carry the load. What is
        missing is staged by the plant itself. [1]
    """

    supply_temperature: Mapping[str, FloatArray] = field(default_factory=dict)
    temperature_range: Mapping[str, FloatArray] = field(default_factory=dict)
    technology_range: Mapping[str, FloatArray] = field(default_factory=dict)
    minimum_flow: Mapping[str, float] = field(default_factory=dict)
    units_on: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UnitCharacteristics:
    """What units of a bank give and draw in some weather, each on ``time``.

    Attributes
    ----------
    economiser_output
        Output that needs no unit. [MW]
    min_output, optimal_output, max_output
        Output of a unit below which it cannot run, at which it runs best, and at most. [MW]
    power_one_unit_more, power_one_unit_less
        Lead draw of a unit more, and of a unit less, than the output calls for. [MW]
    """

    economiser_output: FloatArray
    min_output: FloatArray
    optimal_output: FloatArray
    max_output: FloatArray
    power_one_unit_more: FloatArray
    power_one_unit_less: FloatArray


@dataclass(frozen=True, kw_only=True)
class SwitchableUnits:
    """Equal units of a machine that are switched on and off, and cannot be so at any time.

    Attributes
    ----------
    count
        Number of units.
    minimum_up, minimum_down
        Least time that a unit stays on, and off. [h]
    minimum_restart_time
        Least time between two starts of the same unit. [h]
    start_cost, stop_cost
        Cost of a start and of a stop. [EUR]
    characteristics
        Weather -> what units give and draw.
    """

    count: int
    minimum_up: float = 0.0
    minimum_down: float = 0.0
    minimum_restart_time: float = 0.0
    start_cost: float = 0.0
    stop_cost: float = 0.0
    characteristics: Callable[[Weather], UnitCharacteristics]


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Deliver one carrier by drawing others.

    Attributes
    ----------
    owner
        Id of the machine in the site file.
    output
        Carrier delivered.
    primary_input
        The drawn carrier that costs most: its curve is the one laid out in convex segments.
    inputs
        All carriers drawn.
    heat_source
        Carrier of heat drawn with the other sign, at most what is asked of it; or "".
    max_output
        Weather -> most that can be delivered. [MW]
    physics
        (output [MW], weather) -> :class:`Flows`. The output has ``time`` as its last axis.
    physics_at
        Set points -> the physics at them; None if the machine has none.
    units
        Units that have to be committed; None where any number may run at any time.
    """

    owner: str
    output: str
    primary_input: str
    inputs: tuple[str, ...]
    max_output: Callable[[Weather], FloatArray]
    physics: Callable[[FloatArray, Weather], ConversionFlows]
    heat_source: str = ""
    physics_at: Callable[[SetPoints], Callable[[FloatArray, Weather], ConversionFlows]] | None = (
        None
    )
    units: SwitchableUnits | None = None

    def with_set_points(self, set_points: SetPoints | None) -> "Convert":
        """Return the same conversion at other set points; without any, itself."""
        if set_points is None or self.physics_at is None:
            return self
        return replace(self, physics=self.physics_at(set_points))


@dataclass(frozen=True, kw_only=True)
class Store:
    """Keep a carrier.

    Attributes
    ----------
    owner, carrier
        Id of the machine, carrier kept.
    min_level, max_level
        Window of the level. [MWh]
    charge_limit, discharge_limit
        Most that goes in or out, measured at the carrier. [MW]
    charge_efficiency, discharge_efficiency
        Shares of what passes that are not lost. [1]
    standing_loss
        Share of the level lost in an hour. [1]
    wear_cost
        Cost of wear for each MWh taken out. [EUR MWh-1]
    """

    owner: str
    carrier: str
    min_level: float
    max_level: float
    charge_limit: float
    discharge_limit: float
    charge_efficiency: float = 1.0
    discharge_efficiency: float = 1.0
    standing_loss: float = 0.0
    wear_cost: float = 0.0

    def level_margin(self, share: float) -> float:
        """Return what plans keep free of the window at each end. [MWh]

        Parameters
        ----------
        share
            Share of the window. [1]
        """
        return share * (self.max_level - self.min_level)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Trade a carrier across the fence.

    Attributes
    ----------
    owner, carrier
        Id of the machine or contract, carrier traded.
    import_limit, export_limit
        Most that comes in or goes out. [MW]
    availability_variable
        Name of the outlook's variable that bounds the import further (sun, wind), or "".
    price_variable
        Name of the outlook's price, or "" for none.
    import_fee, export_fee
        Added to the price of import, taken from the revenue of export; below zero where a contract
        pays a fixed price for export. [EUR MWh-1]
    account
        Account of the optimiser that pays the fees.
    carbon_variable
        Name of the outlook's carbon intensity, or "" for none.
    ramp_limit
        Most that net import may change. [MW/min]; 0 means no limit.
    """

    owner: str
    carrier: str
    import_limit: float
    export_limit: float = 0.0
    availability_variable: str = ""
    price_variable: str = ""
    import_fee: float = 0.0
    export_fee: float = 0.0
    account: str = "network"
    carbon_variable: str = ""
    ramp_limit: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FlexibleLoad:
    """Use a carrier for work that may move in time; every unit drawn leaves as heat.

    Attributes
    ----------
    owner, carrier
        Id of the hall, carrier used.
    racks
        Number of racks. [1]
    idle_power, full_power
        Power of one rack that waits, and that works uncapped. [MW]
    heat
        Cooling carrier -> share of the power that it has to carry away; shares sum to 1.
    """

    owner: str
    carrier: str
    racks: int
    idle_power: float
    full_power: float
    heat: Mapping[str, float]


type ObligationQuantity = Literal["net_import", "import", "carbon", "water"]
"""What is summed: energy across the connection [MWh], net or of import alone, carbon of what is
imported [kg], water drawn [m3]."""


@dataclass(frozen=True, kw_only=True)
class ObligationTerms:
    """A promise in the numbers of one outlook, ``(window,)``; a window may be a single interval.

    Attributes
    ----------
    target
        Sum promised; infinite where nothing is. [MWh; kg; m3]
    price_above, price_below
        Cost of a unit above and below, in the unit of the account; below zero where it is paid for.
    window_index
        Window of each interval, ``(time,)``. [1]
    """

    target: FloatArray
    price_above: FloatArray
    price_below: FloatArray
    window_index: FloatArray

    @property
    def is_binding(self) -> np.ndarray:
        """Where something is promised, ``(window,)``."""
        return np.isfinite(self.target)


@dataclass(frozen=True, kw_only=True)
class IntradayTrades:
    """Energy that may still be bought or sold so that a promise fits, ``(time,)``.

    Attributes
    ----------
    limit
        Most of either. [MW]
    buy_price, sell_price
        Cost of a MWh bought, and of one sold: below zero where it is paid for. [EUR MWh-1]
    """

    limit: FloatArray
    buy_price: FloatArray
    sell_price: FloatArray


@dataclass(frozen=True, kw_only=True)
class Obligation:
    """Promise a sum of a flow over each of some windows, and pay for the deviation.

    Attributes
    ----------
    owner
        Id of the contract.
    quantity
        What is summed.
    account
        Account of the optimiser that pays.
    required_variables
        Words of the outlook without which there is no promise.
    terms
        Outlook -> the promise in numbers.
    min_windows
        Least number of windows; 0 where each interval is one.
    trades
        Outlook -> what may still be traded; None if nothing.
    """

    owner: str
    quantity: ObligationQuantity
    account: str
    required_variables: tuple[str, ...]
    terms: Callable[[xr.Dataset], ObligationTerms]
    min_windows: int = 0
    trades: Callable[[xr.Dataset], IntradayTrades] | None = None


@dataclass(frozen=True, kw_only=True)
class DemandChargeTerms:
    """Peaks in which the intervals of a plan count.

    Attributes
    ----------
    peak_index
        Interval -> the peak in which it counts, ``(time,)``; or :data:`NO_PEAK`.
    free_power
        Peak -> value up to which nothing is charged, ``(slot,)``. [MW]
    price
        Peak -> price beyond, ``(slot,)``. [EUR MW-1]
    is_root_sum_square
        Peak -> whether it is the root of the sum of the squares of all quarter-hours beyond what is
        free, and not the greatest of them, ``(slot,)``.
    running_peak_index
        The peak that the running peak of the state belongs to, which is paid already; or
        :data:`NO_PEAK`.
    mean_import_index
        The peak in which the usual import is free too; or :data:`NO_PEAK`.
    """

    peak_index: NDArray[np.int64]
    free_power: FloatArray
    price: FloatArray
    is_root_sum_square: BoolArray
    running_peak_index: int
    mean_import_index: int


@dataclass(frozen=True, kw_only=True)
class DemandCharge:
    """Pay for the greatest value of a flow in each billing period.

    Attributes
    ----------
    owner
        Id of the contract.
    quantity
        Word of the vocabulary whose greatest value is priced.
    price
        Cost of each MW of the greatest value of a billing period, if no tariff says more.
        [EUR MW-1]
    name
        ``peak``, or what else is charged: ``excess`` beyond a contract, ``band`` for band load.
    account
        Account of the optimiser that pays.
    may_be_root_sum_square
        Whether any of its peaks may be a root of a sum of squares.
    terms
        Instants that bound the intervals -> the peaks; the site sets it.
    """

    owner: str
    quantity: str
    price: float
    name: str = "peak"
    account: str = "peak"
    may_be_root_sum_square: bool = False
    terms: Callable[[NDArray[np.datetime64]], DemandChargeTerms] | None = None


Relation = Convert | Store | Exchange | FlexibleLoad | DemandCharge | Obligation

OBLIGATION_UNITS: Final = {"net_import": "MWh", "import": "MWh", "carbon": "kg", "water": "m3"}
"""Unit of each sum."""

HARD_OBLIGATION_PENALTY: Final = {"net_import": 3e4, "import": 3e4, "carbon": 100.0, "water": 3e4}
"""Price that stands for an infinite one: all that can give way gives way before, and yet no plan
fails for it. [EUR per unit]"""

NO_PEAK: Final = -1
"""Number of a peak that there is not. [1]"""
