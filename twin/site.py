"""A site: its place, its machines, the work it does, and what it counts.

Whether every carrier that something asks for has something that delivers it.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, SerializeAsAny, ValidationError

from twin.declarations import (
    InferenceService,
    ObjectiveWeights,
    ResilienceSettings,
    SafetyMargins,
    ScenarioSettings,
    SetPointRules,
    WorkKind,
)
from twin.equipment import (
    Battery,
    Busway,
    CduBank,
    ChilledWaterTank,
    CoolingPlant,
    CrahBank,
    Equipment,
    Genset,
    GridConnection,
    HeatReuse,
    ITHall,
    Photovoltaic,
    Switchgear,
    TransformerBank,
    UpsBank,
    WindFarm,
)
from twin.equipment.network import MediumVoltageNetwork
from twin.errors import SiteError, ValidationIssue
from twin.markets import demand_charges
from twin.markets.contracts import (
    CarbonBudget,
    DayAheadPosition,
    HourlyMatching,
    LoadTargetContract,
    WaterBudget,
)
from twin.markets.demand_charges import BillingRules
from twin.markets.reserve_products import ReserveProduct
from twin.markets.tariffs import Tariff, market_time_zone
from twin.physics import FloatArray
from twin.relations import (
    Convert,
    DemandCharge,
    Exchange,
    FlexibleLoad,
    Obligation,
    Relation,
    Store,
    SwitchableUnits,
)
from twin.text import closest_match_hint
from twin.units import Declaration, ParameterDescription, Quantity

EQUIPMENT_KINDS: Final[Mapping[str, type[Equipment]]] = {
    kind.kind: kind
    for kind in (
        ITHall,
        Battery,
        LoadTargetContract,
        DayAheadPosition,
        HourlyMatching,
        CarbonBudget,
        WaterBudget,
        CduBank,
        CoolingPlant,
        Busway,
        Genset,
        GridConnection,
        CrahBank,
        HeatReuse,
        Photovoltaic,
        Switchgear,
        ChilledWaterTank,
        TransformerBank,
        UpsBank,
        WindFarm,
    )
}
"""Kinds of equipment that a site file may declare, by the word for them."""


class Site(Declaration):
    """A frozen description of one site; changes give a changed copy.

    Attributes
    ----------
    market_time_zone
        IANA zone by which the day-ahead market keeps its day; None for the usual of the time zone.
    equipment
        Id -> machine, in the order of the file.
    work
        Name -> kind of movable work, longest jobs first.
    service
        The inference that must be served.
    network
        The network on medium voltage, or None if the file declares none.
    reserves
        Name -> reserve product that may be sold; empty if the site sells none.
    tariffs
        Name -> dated rules of the network's contract; empty if the plain fees of the grid hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    name: str
    title: Annotated[str, ParameterDescription("what stands above tables and pictures")]
    zone: Annotated[str, ParameterDescription("bidding zone of its prices, as `DE-LU`")]
    time_zone: Annotated[
        str,
        ParameterDescription(
            "IANA zone of its clock, as `Europe/Berlin`: days, months and windows are by it"
        ),
    ]
    market_time_zone: Annotated[
        str | None,
        ParameterDescription(
            "IANA zone of the market's day; none: Central European time in Europe, else its own"
        ),
    ] = None
    latitude: Annotated[float, Quantity("1", "degrees north", at_least=-90, at_most=90)]
    longitude: Annotated[float, Quantity("1", "degrees east", at_least=-180, at_most=180)]
    elevation: Annotated[float, Quantity("m", "above the sea", at_least=-500, below=5000)]
    equipment: Mapping[str, SerializeAsAny[Equipment]]
    work: Mapping[str, WorkKind]
    service: InferenceService
    weights: ObjectiveWeights = ObjectiveWeights()
    margins: SafetyMargins = SafetyMargins()
    contingency: ResilienceSettings = ResilienceSettings()
    set_points: SetPointRules = SetPointRules()
    scenarios: ScenarioSettings = ScenarioSettings()
    network: MediumVoltageNetwork | None = None
    reserves: Mapping[str, ReserveProduct] = {}
    tariffs: Mapping[str, Tariff] = {}

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """All relations of all machines, in the order of the file."""
        return tuple(r for machine in self.equipment.values() for r in machine.relations())

    @cached_property
    def conversions(self) -> tuple[Convert, ...]:
        """Conversions: all that draw a carrier stand before what relieves or delivers it."""
        waiting = [r for r in self.relations if isinstance(r, Convert)]
        ordered: list[Convert] = []
        while waiting:
            drawn = {carrier for convert in waiting for carrier in convert.inputs}
            used = {c for convert in waiting for c in convert.inputs if c != convert.heat_source}
            free = [c for c in waiting if c.output not in drawn and c.heat_source not in used]
            if not free:
                circle = ", ".join(sorted(convert.owner for convert in waiting))
                remedy = "machines draw on one another in a circle; cut one draw"
                raise SiteError(
                    self.name, [ValidationIssue(location=circle, found="", remedy=remedy)]
                )
            ordered += free
            waiting = [convert for convert in waiting if convert not in free]
        return tuple(ordered)

    @cached_property
    def switchable_units(self) -> Mapping[str, SwitchableUnits]:
        """The units that plans have to commit, by their bank."""
        return {c.owner: c.units for c in self.conversions if c.units is not None}

    @cached_property
    def stores(self) -> tuple[Store, ...]:
        """All stores."""
        return tuple(r for r in self.relations if isinstance(r, Store))

    @cached_property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All exchanges, the connection first."""
        found = [r for r in self.relations if isinstance(r, Exchange)]
        return tuple(sorted(found, key=lambda exchange: exchange.carrier != "grid"))

    @cached_property
    def flexible_loads(self) -> tuple[FlexibleLoad, ...]:
        """The work of all halls."""
        return tuple(r for r in self.relations if isinstance(r, FlexibleLoad))

    @cached_property
    def demand_charges(self) -> tuple[DemandCharge, ...]:
        """All charges on peaks, by the tariffs where there are any."""
        plain = (relation for relation in self.relations if isinstance(relation, DemandCharge))
        return tuple(
            one
            for peak in plain
            for one in demand_charges.site_demand_charges(peak, self.billing_rules)
        )

    @property
    def market_zone(self) -> str:
        """IANA zone by which the day-ahead market keeps its day and publishes its prices."""
        return self.market_time_zone or market_time_zone(self.time_zone)

    @cached_property
    def billing_rules(self) -> BillingRules:
        """How the import is billed."""
        return BillingRules(self.time_zone, self.tariffs)

    def import_fees(self, moments: NDArray[np.datetime64]) -> FloatArray:
        """Return network fee and taxes on import in intervals that begin then. [EUR MWh-1]"""
        return self.grid.import_fee + self.billing_rules.energy_prices(moments)

    def mean_import_fees(self, instants: NDArray[np.datetime64]) -> FloatArray:
        """Return the same on the mean of each interval between two instants. [EUR MWh-1]"""
        return self.grid.import_fee + self.billing_rules.mean_energy_prices(instants)

    @cached_property
    def obligations(self) -> tuple[Obligation, ...]:
        """All promises about sums of flows."""
        return tuple(r for r in self.relations if isinstance(r, Obligation))

    def machines_of[T: Equipment](self, kind: type[T]) -> tuple[T, ...]:
        """Return the machines of one kind, in the order of the file."""
        return tuple(m for m in self.equipment.values() if isinstance(m, kind))

    @property
    def grid(self) -> GridConnection:
        """The connection."""
        return self.machines_of(GridConnection)[0]

    @property
    def racks(self) -> int:
        """Number of accelerator racks of all halls. [1]"""
        return sum(hall.racks for hall in self.machines_of(ITHall))

    def with_parameters(self, machine: str, **values: object) -> Self:
        """Return a copy of the site with some parameters of one machine set.

        Parameters
        ----------
        machine
            Id of the machine.
        **values
            Parameters, as texts with units or in canonical units.

        Returns
        -------
        Site
            The changed copy.

        Raises
        ------
        SiteError
            If there is no such machine or parameter, or a value is out of its bounds.
        """
        if machine not in self.equipment:
            known = ", ".join(self.equipment)
            issue = ValidationIssue(
                location=machine, found="", remedy=f"no such machine; there are {known}"
            )
            raise SiteError(self.name, [issue])
        try:
            changed = self.equipment[machine].with_values(**values)
        except ValidationError as error:
            raise SiteError(self.name, machine_issues(error, self.equipment[machine])) from error
        return self.with_equipment({**self.equipment, machine: changed})

    def with_equipment(self, equipment: Mapping[str, Equipment]) -> Self:
        """Return a copy of the site with other machines; the network loses feeds of lost ones."""
        network = self.network and self.network.restricted_to(equipment)
        return self._with(equipment=dict(equipment), network=network)

    def with_network(self, network: MediumVoltageNetwork | None) -> Self:
        """Return a copy of the site with another network."""
        return self._with(network=network)

    def with_margins(self, margins: SafetyMargins) -> Self:
        """Return a copy of the site with other margins."""
        return self._with(margins=margins)

    def with_tariffs(self, tariffs: Mapping[str, Tariff]) -> Self:
        """Return a copy of the site under other tariffs."""
        return self._with(tariffs=dict(tariffs))

    def __getstate__(self) -> dict[object, object]:
        """Return what is declared: what follows from it is worked out anew where it arrives."""
        state: dict[object, object] = super().__getstate__()
        declared = {name: getattr(self, name) for name in type(self).model_fields}
        return state | {"__dict__": declared}

    def _with(self, **changes: object) -> Self:
        """Return a changed copy; nothing derived is carried over."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_construct(**{**fields, **changes})


def machine_issues(error: ValidationError, machine: Equipment) -> list[ValidationIssue]:
    """Return the faults that pydantic found in a machine, each with its place and value."""
    issues = []
    for item in error.errors():
        steps = [str(step) for step in item["loc"]]
        value = "" if item["type"] in {"missing", "extra_forbidden"} else repr(item["input"])
        words = item["msg"].removeprefix("Value error, ")
        if isinstance(item["input"], Mapping):  # of a whole machine only what the words speak of
            named = {k: v for k, v in item["input"].items() if k in words.split()}
            value = ", ".join(f"{key} = {told!r}" for key, told in named.items())
        if item["type"] == "extra_forbidden":
            words = "no such parameter"
            if len(steps) == 1:  # of the machine, not of a table in it
                kind, known = machine.kind.replace("_", " "), type(machine).model_fields
                words += f" of {kind}{closest_match_hint(steps[0], known)}"
        place = ".".join(["equipment", machine.name, *steps])
        issues.append(ValidationIssue(location=place, found=value, remedy=words))
    return issues


EXTERNAL_CARRIERS: Final = frozenset({"grid", "water"})
"""Carriers that come from outside the fence."""

SUPPLIER_KINDS: Final[Mapping[str, str]] = {
    "busbar": "transformer that delivers busbar",
    "medium_voltage": "transformer or switchgear",
    "critical": "ups",
    "rack": "distribution",
    "liquid": "cdu",
    "air": "hall_air",
    "warm": "cooling_plant that serves warm",
    "chilled": "cooling_plant that serves chilled",
    "heat": "heat_reuse",
}
"""Carrier -> the kinds of machines that deliver it."""

_HEAT: Final = {"liquid", "air", "warm", "chilled"}


def unsupplied_carriers(site: Site) -> Iterator[ValidationIssue]:
    """Yield what is asked for and not delivered: heat, then, has no path out of the site.

    Parameters
    ----------
    site
        The site.

    Yields
    ------
    ValidationIssue
        One a carrier, at a machine that asks for it.
    """
    converts = [relation for relation in site.relations if isinstance(relation, Convert)]
    wanted = {carrier: convert.owner for convert in converts for carrier in convert.inputs}
    wanted |= {store.carrier: store.owner for store in site.stores}
    wanted |= {exchange.carrier: exchange.owner for exchange in site.exchanges}
    for work in site.flexible_loads:
        wanted |= dict.fromkeys([work.carrier, *work.heat], work.owner)
    supplied = {convert.output for convert in converts} | EXTERNAL_CARRIERS
    for carrier, owner in wanted.items():
        if carrier not in supplied:
            kinds = SUPPLIER_KINDS[carrier]
            remedy = f"needs {carrier}, which no machine delivers; add one of kind {kinds}"
            if carrier in _HEAT:
                remedy += ", or its heat has no path"
            yield ValidationIssue(location=f"[equipment.{owner}]", found="", remedy=remedy)


NETWORK_CARRIER: Final = "medium_voltage"
"""Carrier of the network."""


def network_machines(site: Site) -> tuple[str, ...]:
    """Return the machines that draw from the medium-voltage network or give to it."""
    return tuple(r.owner for r in site.relations if NETWORK_CARRIER in _touched(r))


def _touched(relation: Relation) -> tuple[str, ...]:
    """Return the carriers that a relation draws from or gives to, but for conversion's output."""
    match relation:
        case Convert():
            return relation.inputs
        case Store() | Exchange():
            return (relation.carrier,)
    return ()
