"""What equipment and contracts may do to a carrier: six relations.

The twin runs relations and the optimiser compiles them; neither depends on the machines behind
them. Each carrier has an energy sign: +1 for electricity and heat delivered to others, -1 for
cooling (to deliver cooling is to take heat), 0 for water. Every conversion balances: the signed
inputs equal the signed output plus the heat that leaves the site.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin.physics import FloatArray, Numeric
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
"""Carriers connected to the grid; machines that deliver them also carry reverse power."""


@dataclass(frozen=True, kw_only=True)
class ConversionFlows:
    """Inputs and heat of a conversion at an output.

    - `inputs`: Carrier -> amount drawn, on the axes of the output. [MW; m3 h-1 for water]
    - `heat`: heat to the surroundings of the site. [MW]
    - `details`: Variable name ``<kind>_<role>`` -> its values, for reports.
    """

    inputs: Mapping[str, FloatArray]
    heat: FloatArray
    details: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SetPoints:
    """Set points of the water of a site, on ``time``; missing ones are as declared.

    - `supply_temperature`: Cooling plant -> temperature of its supply water. [degC]
    - `temperature_range`: Cooling plant -> return less supply temperature, controlled by the flow.
      [K]
    - `technology_range`: CDU bank -> temperature rise of the coolant, controlled by its pumps. [K]
    - `minimum_flow`: Cooling plant or CDU bank -> minimum share of its rated flow. [1]
    - `units_on`: Cooling plant -> running chillers, more if these cannot carry the load; by default
      the plant decides. [1]
    """

    supply_temperature: Mapping[str, FloatArray] = field(default_factory=dict)
    temperature_range: Mapping[str, FloatArray] = field(default_factory=dict)
    technology_range: Mapping[str, FloatArray] = field(default_factory=dict)
    minimum_flow: Mapping[str, float] = field(default_factory=dict)
    units_on: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UnitCharacteristics:
    """Outputs and powers of the units of a bank in given weather, each on ``time``.

    - `economiser_output`: output without any unit. [MW]
    - `min_output`, `optimal_output`, `max_output`: minimum, best and maximum output of a unit. [MW]
    - `extra_power_one_unit_more`, `extra_power_one_unit_less`: extra primary input with a unit
      more, or a unit less, than the output needs. [MW]
    """

    economiser_output: FloatArray
    min_output: FloatArray
    optimal_output: FloatArray
    max_output: FloatArray
    extra_power_one_unit_more: FloatArray
    extra_power_one_unit_less: FloatArray


@dataclass(frozen=True, kw_only=True)
class SwitchableUnits:
    """Equal units of a machine with restricted starts and stops.

    - `min_up_time`, `min_down_time`: minimum time on and off. [h]
    - `minimum_restart_time`: minimum time between two starts of the same unit. [h]
    - `start_cost`, `stop_cost`: cost of a start and of a stop. [EUR]
    - `characteristics`: Weather -> outputs and powers of the units.
    """

    count: int
    min_up_time: float = 0.0
    min_down_time: float = 0.0
    minimum_restart_time: float = 0.0
    start_cost: float = 0.0
    stop_cost: float = 0.0
    characteristics: Callable[[Weather], UnitCharacteristics]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """Delivery of one carrier by drawing others.

    - `owner`: id of the machine in the site file.
    - `primary_input`: the most expensive input; its curve is linearised in convex segments.
    - `heat_source`: carrier whose heat is used, up to its demand; or "".
    - `max_output`: Weather -> maximum output. [MW]
    - `flows_at_output`: (output [MW], weather) -> :class:`ConversionFlows`. The output has ``time``
      as last axis.
    - `flows_for_set_points`: Set points -> the physics at them; None without set points.
    - `switchable_units`: units for unit commitment; None if any number may run at any time.
    """

    owner: str
    output_carrier: str
    primary_input: str
    input_carriers: tuple[str, ...]
    max_output: Callable[[Weather], FloatArray]
    flows_at_output: Callable[[FloatArray, Weather], ConversionFlows]
    heat_source: str = ""
    flows_for_set_points: (
        Callable[[SetPoints], Callable[[FloatArray, Weather], ConversionFlows]] | None
    ) = None
    switchable_units: SwitchableUnits | None = None

    def with_set_points(self, set_points: SetPoints | None) -> "Conversion":
        """Return the conversion at other set points; itself without any."""
        if set_points is None or self.flows_for_set_points is None:
            return self
        return replace(self, flows_at_output=self.flows_for_set_points(set_points))


def constant_output(value: float) -> Callable[[Weather], FloatArray]:
    """Return a maximum output that does not depend on the weather. [MW]"""
    return lambda weather: np.full(weather.shape, value)


@dataclass(frozen=True, kw_only=True)
class Store:
    """Storage of a carrier.

    - `owner`, `carrier`: id of the machine, carrier stored.
    - `min_level`, `max_level`: minimum and maximum level. [MWh]
    - `charge_limit`, `discharge_limit`: maximum charge and discharge, at the carrier. [MW]
    - `charge_efficiency`, `discharge_efficiency`: efficiencies of charge and discharge. [1]
    - `standing_loss`: share of the level lost per hour. [1]
    - `wear_cost`: wear cost per MWh discharged. [EUR MWh-1]
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
        """Return the margin that plans keep at each end of the window, from its share [1]. [MWh]"""
        return share * (self.max_level - self.min_level)

    def emptying_power(self, level: Numeric, hours: Numeric, *, kept: Numeric = 0.0) -> Numeric:
        """Return the discharge that empties the store in a time; negative if too low. [MW]

        Parameters
        ----------
        level
            Level at the start. [MWh]
        hours
            The time; with :data:`twin.equipment.storage.STORAGE_TAPER_TIME_H` added to it, the
            power does not taper within it. [h]
        kept
            Energy to leave above the least level. [MWh]
        """
        return (level - self.min_level - kept) * self.discharge_efficiency / hours

    def filling_power(self, level: Numeric, hours: Numeric, *, kept: Numeric = 0.0) -> Numeric:
        """Return the charge that fills the store in a time; see :meth:`emptying_power`. [MW]"""
        return (self.max_level - kept - level) / (self.charge_efficiency * hours)

    def max_discharge(self, level: Numeric, hours: Numeric, *, kept: Numeric = 0.0) -> FloatArray:
        """Return the largest constant discharge over a time; see :meth:`emptying_power`. [MW]"""
        return np.clip(self.emptying_power(level, hours, kept=kept), 0.0, self.discharge_limit)

    def max_charge(self, level: Numeric, hours: Numeric, *, kept: Numeric = 0.0) -> FloatArray:
        """Return the largest constant charge over a time; see :meth:`emptying_power`. [MW]"""
        return np.clip(self.filling_power(level, hours, kept=kept), 0.0, self.charge_limit)

    def level_rate(self, charge: Numeric, discharge: Numeric) -> Numeric:
        """Return the rate of change of the level at some powers, without standing loss. [MW]"""
        return self.charge_efficiency * charge - discharge / self.discharge_efficiency


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Trade of a carrier across the site boundary.

    - `owner`, `carrier`: id of the machine or contract, carrier traded.
    - `import_limit`, `export_limit`: maximum import and export. [MW]
    - `availability_variable`: outlook variable that limits the import further (sun, wind), or "".
    - `price_variable`: outlook variable of the price, or "".
    - `import_fee`, `export_fee`: added to the price of import, deducted from the revenue of export;
      negative if a contract pays a fixed price for export. [EUR MWh-1]
    - `account`: account of the optimiser that pays the fees.
    - `carbon_variable`: outlook variable of the carbon intensity, or "".
    - `ramp_limit`: maximum change of net import; 0 means no limit. [MW/min]
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
    """Use of a carrier for work that may move in time; all power becomes heat.

    - `owner`, `carrier`: id of the hall, carrier used.
    - `racks`: number of racks. [1]
    - `idle_power`, `full_power`: power of one idle rack, and of one uncapped rack at full load.
      [MW]
    - `heat_shares`: Cooling carrier -> share of the power that it removes; shares sum to 1.
    """

    owner: str
    carrier: str
    racks: int
    idle_power: float
    full_power: float
    heat_shares: Mapping[str, float]


type ObligationQuantity = Literal["net_import", "import", "carbon", "water"]
"""Summed quantity: net import or import [MWh], carbon of import [kg], or water [m3]."""


@dataclass(frozen=True, kw_only=True)
class ObligationTerms:
    """Terms of an obligation in one outlook, on ``(window,)``; a window may be one interval.

    - `contracted_sum`: contracted sum; infinite without obligation. [MWh; kg; m3]
    - `price_above`, `price_below`: cost of a unit above and below, in the unit of the account;
      negative if it earns money.
    - `window_index`: window of each interval, on ``(time,)``. [1]
    """

    contracted_sum: FloatArray
    price_above: FloatArray
    price_below: FloatArray
    window_index: FloatArray

    @property
    def is_binding(self) -> np.ndarray:
        """Where there is an obligation, on ``(window,)``."""
        return np.isfinite(self.contracted_sum)


@dataclass(frozen=True, kw_only=True)
class IntradayTrades:
    """Energy that may still be traded to meet an obligation, on ``(time,)``.

    - `max_trade_power`: maximum of either. [MW]
    - `buy_price`, `sell_price`: cost of a MWh bought and of a MWh sold; negative if it earns money.
      [EUR MWh-1]
    """

    max_trade_power: FloatArray
    buy_price: FloatArray
    sell_price: FloatArray


@dataclass(frozen=True, kw_only=True)
class Obligation:
    """Contract for the sum of a flow over windows, with a cost of deviation.

    - `account`: account of the optimiser that pays.
    - `required_variables`: outlook variables without which there is no obligation.
    - `min_windows`: minimum number of windows; 0 if each interval is one.
    - `trades`: Outlook -> possible trades; None without any.
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
    """The billed peaks to which the intervals of a plan belong.

    - `peak_index`: Interval -> index of its peak, on ``(time,)``; or :data:`NO_PEAK_INDEX`.
    - `uncharged_power`: Peak -> uncharged power, on ``(slot,)``. [MW]
    - `excess_price`: Peak -> price of the excess, on ``(slot,)``. [EUR MW-1]
    - `is_root_sum_square`: Peak -> whether it is the root of the sum of squares of all excesses
      instead of the greatest, on ``(slot,)``.
    - `running_peak_index`: the peak to which the running peak of the state belongs, already paid;
      or :data:`NO_PEAK_INDEX`.
    - `mean_import_index`: the peak in which the mean import is also free; or :data:`NO_PEAK_INDEX`.
    """

    peak_index: NDArray[np.int64]
    uncharged_power: FloatArray
    excess_price: FloatArray
    is_root_sum_square: BoolArray
    running_peak_index: int
    mean_import_index: int


@dataclass(frozen=True, kw_only=True)
class DemandCharge:
    """Charge on the greatest value of a flow in each billing period.

    - `charged_variable`: variable whose greatest value is charged.
    - `price`: cost per MW of peak and billing period, without a tariff. [EUR MW-1]
    - `name`: ``peak``, ``excess`` above a contract, or ``band`` for the band-load rebate.
    - `account`: account of the optimiser that pays.
    - `may_be_root_sum_square`: whether any of its peaks may be the root of a sum of squares.
    - `terms`: Edges of the intervals -> the terms; set by the site.
    """

    owner: str
    charged_variable: str
    price: float
    name: str = "peak"
    account: str = "peak"
    may_be_root_sum_square: bool = False
    terms: Callable[[NDArray[np.datetime64]], DemandChargeTerms] | None = None


Relation = Conversion | Store | Exchange | FlexibleLoad | DemandCharge | Obligation

OBLIGATION_UNITS: Final = {"net_import": "MWh", "import": "MWh", "carbon": "kg", "water": "m3"}
"""Unit of each sum."""

NO_PEAK_INDEX: Final = -1
"""Index of no peak. [1]"""


def relation_carriers(relation: Relation) -> tuple[str, ...]:
    """Return the carriers of a relation, first the one that it delivers, stores or uses."""
    if isinstance(relation, Conversion):
        return relation.output_carrier, *relation.input_carriers
    if isinstance(relation, Store | Exchange | FlexibleLoad):
        return (relation.carrier,)
    return ()
