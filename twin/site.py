"""A site: its location, machines, work and contracts, and the carriers that its machines need.

Loads and ratings of its machines are those of a mild day.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import ConfigDict, SerializeAsAny, ValidationError

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
from twin.equipment.electrical_network import MediumVoltageNetwork
from twin.errors import IssueCode, SiteError, ValidationIssue
from twin.markets import planned_billing
from twin.markets.contracts import (
    CarbonBudget,
    DayAheadPosition,
    HourlyMatching,
    LoadTargetContract,
    WaterBudget,
    market_time_zone,
)
from twin.markets.planned_billing import BillingRules
from twin.markets.reserve_products import ReserveProduct
from twin.markets.tariffs import Tariff
from twin.physics import FloatArray, psychrometrics
from twin.relations import (
    CARRIER_ENERGY_SIGN,
    Conversion,
    DemandCharge,
    Exchange,
    FlexibleLoad,
    Obligation,
    Relation,
    Store,
    SwitchableUnits,
    relation_carriers,
)
from twin.site_settings import (
    InferenceService,
    ObjectiveWeights,
    ResilienceSettings,
    SafetyMargins,
    ScenarioSettings,
    SetPointRules,
    WorkKind,
)
from twin.text import closest_match_hint
from twin.units import Declaration, ParameterDescription, Quantity, declared_quantity
from twin.weather import Weather

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
"""Kinds of equipment in site files, by name."""


class Site(Declaration):
    """A frozen description of one site; changes give a changed copy.

    Attributes
    ----------
    market_time_zone
        IANA zone of the day-ahead market; None for the default of ``time_zone``.
    equipment
        Id -> machine, in the order of the file.
    work
        Name -> kind of movable work, longest jobs first.
    service
        The inference service.
    network
        The medium-voltage network, or None if not declared.
    reserves
        Name -> reserve product that the site may sell.
    tariffs
        Name -> dated tariff; if empty, the fees of the grid connection apply.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    name: str
    title: Annotated[str, ParameterDescription("title of tables and figures")]
    zone: Annotated[str, ParameterDescription("bidding zone of its prices, as `DE-LU`")]
    time_zone: Annotated[
        str,
        ParameterDescription("IANA zone for days, months and windows, as `Europe/Berlin`"),
    ]
    market_time_zone: Annotated[
        str | None,
        ParameterDescription(
            "IANA zone of the market's day; default: CET in Europe, else `time_zone`"
        ),
    ] = None
    latitude: Annotated[float, Quantity("1", "degrees north", at_least=-90, at_most=90)]
    longitude: Annotated[float, Quantity("1", "degrees east", at_least=-180, at_most=180)]
    elevation: Annotated[
        float, Quantity("m", "elevation above sea level", at_least=-500, below=5000)
    ]
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
    def conversions(self) -> tuple[Conversion, ...]:
        """Conversions, ordered so that consumers of a carrier precede its suppliers."""
        waiting = [r for r in self.relations if isinstance(r, Conversion)]
        ordered: list[Conversion] = []
        while waiting:
            drawn = {carrier for convert in waiting for carrier in convert.input_carriers}
            used = {
                c for convert in waiting for c in convert.input_carriers if c != convert.heat_source
            }
            free = [
                c for c in waiting if c.output_carrier not in drawn and c.heat_source not in used
            ]
            if not free:
                raise SiteError.single(
                    self.name,
                    IssueCode.INCONSISTENT,
                    ", ".join(sorted(convert.owner for convert in waiting)),
                    found="a cycle of machines",
                    expected="machines that supply one another without a cycle",
                    remedy="remove one of their connections",
                )
            ordered += free
            waiting = [convert for convert in waiting if convert not in free]
        return tuple(ordered)

    @cached_property
    def switchable_units(self) -> Mapping[str, SwitchableUnits]:
        """The units for unit commitment, by their bank."""
        return {
            c.owner: c.switchable_units for c in self.conversions if c.switchable_units is not None
        }

    @cached_property
    def stores(self) -> tuple[Store, ...]:
        """All stores."""
        return tuple(r for r in self.relations if isinstance(r, Store))

    @cached_property
    def electricity_stores(self) -> tuple[Store, ...]:
        """The stores of electricity."""
        return tuple(store for store in self.stores if store.carrier == NETWORK_CARRIER)

    @cached_property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All exchanges, the grid connection first."""
        found = [r for r in self.relations if isinstance(r, Exchange)]
        return tuple(sorted(found, key=lambda exchange: exchange.carrier != "grid"))

    @cached_property
    def flexible_loads(self) -> tuple[FlexibleLoad, ...]:
        """The flexible loads of all halls."""
        return tuple(r for r in self.relations if isinstance(r, FlexibleLoad))

    @cached_property
    def demand_charges(self) -> tuple[DemandCharge, ...]:
        """All demand charges, by the tariffs if there are any."""
        plain = (relation for relation in self.relations if isinstance(relation, DemandCharge))
        return tuple(
            one
            for peak in plain
            for one in planned_billing.site_demand_charges(peak, self.billing_rules)
        )

    @property
    def resolved_market_time_zone(self) -> str:
        """IANA zone of the day-ahead market's day and prices."""
        return self.market_time_zone or market_time_zone(self.time_zone)

    @cached_property
    def billing_rules(self) -> BillingRules:
        """The billing rules of the import."""
        return BillingRules(self.time_zone, self.tariffs)

    def import_fees(self, moments: NDArray[np.datetime64]) -> FloatArray:
        """Return network fee and taxes on import in intervals with these starts. [EUR MWh-1]"""
        return self.grid_connection.import_fee + self.billing_rules.energy_prices(moments)

    def mean_import_fees(self, instants: NDArray[np.datetime64]) -> FloatArray:
        """Return the same as mean of each interval between two instants. [EUR MWh-1]"""
        return self.grid_connection.import_fee + self.billing_rules.mean_energy_prices(instants)

    @cached_property
    def obligations(self) -> tuple[Obligation, ...]:
        """All obligations of contracts."""
        return tuple(r for r in self.relations if isinstance(r, Obligation))

    def machines_of[T: Equipment](self, kind: type[T]) -> tuple[T, ...]:
        """Return the machines of one kind, in the order of the file."""
        return tuple(m for m in self.equipment.values() if isinstance(m, kind))

    def to_dataset(self) -> xr.Dataset:
        """Return all machines with their parameters, on the axis ``machine``.

        Returns
        -------
        xarray.Dataset
            Parameters by the name ``<kind>_<parameter>``, with unit and meaning; NaN for machines
            of another kind. Coordinates of a machine are its ``kind``, the ``carrier`` that it
            delivers, stores or uses, and the ``circuit`` (its cooling plant) that it cools, or
            that cools it; "" without one. Contracts are no machines.
        """
        machines = [machine for machine in self.equipment.values() if machine.is_machine]
        plants = {plant.serves: plant.name for plant in self.machines_of(CoolingPlant)}
        used = [[c for r in m.relations() for c in relation_carriers(r)] for m in machines]
        columns: dict[str, tuple[str, FloatArray, dict[str, str]]] = {}
        for i, machine in enumerate(machines):
            for name, field in type(machine).model_fields.items():
                quantity, value = declared_quantity(field), getattr(machine, name)
                if quantity is not None and isinstance(value, int | float):
                    attrs = {"units": quantity.unit, "long_name": quantity.meaning}
                    empty = "machine", np.full(len(machines), np.nan), attrs
                    columns.setdefault(f"{machine.kind}_{name}", empty)[1][i] = value
        labels = {
            "kind": [machine.kind for machine in machines],
            "carrier": [next(iter(carriers), "") for carriers in used],
            "circuit": [next((plants[c] for c in cs if c in plants), "") for cs in used],
        }
        coords = {name: ("machine", values) for name, values in labels.items()}
        names = [machine.name for machine in machines]
        return xr.Dataset(columns, {"machine": names, **coords}, dict(self.identity))

    @property
    def grid_connection(self) -> GridConnection:
        """The grid connection."""
        return self.machines_of(GridConnection)[0]

    @property
    def rack_count(self) -> int:
        """Number of accelerator racks in all halls. [1]"""
        return sum(hall.racks for hall in self.machines_of(ITHall))

    def with_parameters(self, machine: str, **values: object) -> Self:
        """Return a copy of the site with changed parameters of one machine.

        Parameters
        ----------
        **values
            Parameters, as texts with units or in canonical units.

        Returns
        -------
        Site
            The changed copy.

        Raises
        ------
        SiteError
            If the machine or a parameter is unknown, a value is out of range, or a machine becomes
            too small for full halls.
        """
        if machine not in self.equipment:
            raise SiteError.single(
                self.name,
                IssueCode.UNKNOWN_NAME,
                machine,
                expected=f"one of {', '.join(self.equipment)}",
                remedy="name a machine of the site",
            )
        try:
            changed = self.equipment[machine].with_values(**values)
        except ValidationError as error:
            raise SiteError(self.name, machine_issues(error, self.equipment[machine])) from error
        site = self.with_equipment({**self.equipment, machine: changed})
        if issues := list(undersized_machines(site)):
            known_places = {issue.location for issue in undersized_machines(self)}
            SiteError.raise_if_any(
                self.name, [issue for issue in issues if issue.location not in known_places]
            )
        return site

    def with_equipment(self, equipment: Mapping[str, Equipment]) -> Self:
        """Return a copy with other machines; feeds of removed machines are removed.

        Their sizes are not checked.
        """
        network = self.network and self.network.restricted_to(equipment)
        return self._with(equipment=dict(equipment), network=network)

    def with_network(self, network: MediumVoltageNetwork | None) -> Self:
        """Return a copy of the site with another network."""
        return self._with(network=network)

    def with_margins(self, margins: SafetyMargins) -> Self:
        """Return a copy with other margins."""
        return self._with(margins=margins)

    def with_tariffs(self, tariffs: Mapping[str, Tariff]) -> Self:
        """Return a copy with other tariffs."""
        return self._with(tariffs=dict(tariffs))

    @property
    def parameter_digest(self) -> str:
        """Digest of all declared parameters by their names; no names of classes are part of it."""
        kinds = {name: machine.kind for name, machine in self.equipment.items()}
        return _digest([kinds, self.model_dump(mode="json")])

    @property
    def identity(self) -> Mapping[str, str]:
        """Attributes of the states and outlooks of the site: its name, and a digest of its place.

        The digest covers zones and position, which neither calibration nor a variation of a machine
        changes. So a state or an outlook remains valid for variants of a site.
        """
        place = (self.zone, self.time_zone, self.market_time_zone)
        position = (self.latitude, self.longitude, self.elevation)
        return {"site": self.name, "site_digest": _digest([place, position])}

    def foreign_data_issues(
        self, attributes: Mapping[str, object], source: str
    ) -> Iterator[ValidationIssue]:
        """Yield an issue if a state or an outlook states another site in its attributes.

        Data without these attributes may be of any site.
        """
        for name in [name for name in ("site", "site_digest") if name in attributes]:
            found, expected = attributes[name], self.identity[name]
            if found != expected:
                yield IssueCode.INCONSISTENT.issue(
                    f"{source}, attribute {name}",
                    found=str(found),
                    expected=f"{expected}, as of the site {self.name} in {self.zone}",
                    remedy=f"build the {source} with this site",
                )
                return

    def __getstate__(self) -> dict[object, object]:
        """Return only declared values; derived ones are computed again after unpickling."""
        state: dict[object, object] = super().__getstate__()
        declared = {name: getattr(self, name) for name in type(self).model_fields}
        return state | {"__dict__": declared}

    def _with(self, **changes: object) -> Self:
        """Return a changed copy without derived values."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_construct(**{**fields, **changes})


def _digest(values: object) -> str:
    """Return a short digest of plain values."""
    text = json.dumps(values, sort_keys=True)
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


DIGEST_BYTES: Final = 16
"""Length of a digest of parameters. [B]"""

PYDANTIC_CODES: Final[Mapping[str, IssueCode]] = {
    "missing": IssueCode.MISSING,
    "extra_forbidden": IssueCode.UNKNOWN_KEY,
    "value_error": IssueCode.INCONSISTENT,
}
"""Type of a pydantic error -> code of the issue; others are out of range."""


def machine_issues(error: ValidationError, machine: Equipment) -> list[ValidationIssue]:
    """Return pydantic's errors in a machine as issues."""
    issues = []
    for item in error.errors():
        steps = [str(step) for step in item["loc"]]
        value = "" if item["type"] in {"missing", "extra_forbidden"} else repr(item["input"])
        message = item["msg"].removeprefix("Value error, ")
        if isinstance(
            item["input"], Mapping
        ):  # of a whole machine only the parameters that the message names
            named = {k: v for k, v in item["input"].items() if k in message.split()}
            value = ", ".join(f"{key} = {entry!r}" for key, entry in named.items())
        if item["type"] == "extra_forbidden":
            message = "remove the unknown parameter"
            if len(steps) == 1:  # of the machine, not of a nested table
                kind, known = machine.kind.replace("_", " "), type(machine).model_fields
                message += f" of {kind}{closest_match_hint(steps[0], known)}"
        issues.append(
            ValidationIssue(
                code=PYDANTIC_CODES.get(item["type"], IssueCode.OUT_OF_RANGE),
                location=".".join(["equipment", machine.name, *steps]),
                found=value,
                expected="a parameter as in docs/reference/equipment.md",
                remedy=message,
            )
        )
    return issues


EXTERNAL_CARRIERS: Final = frozenset({"grid", "water"})
"""Carriers from outside the site."""

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
"""Carrier -> kinds of machines that deliver it."""

_HEAT: Final = {"liquid", "air", "warm", "chilled"}


def unsupplied_carriers(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for each carrier that is needed but not delivered."""
    converts = [relation for relation in site.relations if isinstance(relation, Conversion)]
    needed = {carrier: convert.owner for convert in converts for carrier in convert.input_carriers}
    needed |= {store.carrier: store.owner for store in site.stores}
    needed |= {exchange.carrier: exchange.owner for exchange in site.exchanges}
    for work in site.flexible_loads:
        needed |= dict.fromkeys([work.carrier, *work.heat_shares], work.owner)
    supplied = {convert.output_carrier for convert in converts} | EXTERNAL_CARRIERS
    for carrier, owner in needed.items():
        if carrier not in supplied:
            kinds = SUPPLIER_KINDS[carrier]
            expected = f"a machine that delivers {carrier}"
            if carrier in _HEAT:
                expected += "; without it heat has no path out of the site"
            yield IssueCode.MISSING.issue(
                f"[equipment.{owner}]", expected=expected, remedy=f"add a machine of kind {kinds}"
            )


NETWORK_CARRIER: Final = "medium_voltage"
"""Carrier of the network."""


def network_machines(site: Site) -> tuple[str, ...]:
    """Return the machines that draw from or supply the medium-voltage network."""
    return tuple(r.owner for r in site.relations if NETWORK_CARRIER in _connected_carriers(r))


def _connected_carriers(relation: Relation) -> tuple[str, ...]:
    """Return the carriers of a relation, except the output of a conversion."""
    match relation:
        case Conversion():
            return relation.input_carriers
        case Store() | Exchange():
            return (relation.carrier,)
    return ()


MILD_TEMPERATURE_C: Final = 10.0
"""Outdoor temperature at which every cooling plant has full capacity. [degC]"""

MILD_RELATIVE_HUMIDITY: Final = 0.7
"""Relative humidity at that temperature. [1]"""


def design_loads(site: Site, *, busy_share: float) -> Mapping[str, float]:
    """Return the load of each carrier on a mild day, before stores and renewables.

    Parameters
    ----------
    site
        A site in which every carrier has a supplier.
    busy_share
        Share of the racks at full load; the others are idle. [1]

    Returns
    -------
    Mapping
        Carrier -> load. [MW; m3 h-1 for water]

    Raises
    ------
    SiteError
        If the numbers of a machine overflow, and NumPy raises overflows.

    Notes
    -----
    A load above the rating of a machine is shared by several such machines: the losses of one would
    grow with a power of the load and distort the loads of all machines before it.
    """
    weather = mild_weather(site)
    loads = {carrier: np.zeros(1) for carrier in CARRIER_ENERGY_SIGN}
    for work in site.flexible_loads:
        power = work.racks * (work.idle_power + busy_share * (work.full_power - work.idle_power))
        loads[work.carrier] += power
        for carrier, share in work.heat_shares.items():
            loads[carrier] += share * power
    for convert in site.conversions:
        for carrier, draw in _draws(convert, loads[convert.output_carrier], weather).items():
            loads[carrier] += draw
    return {carrier: float(load[0]) for carrier, load in loads.items()}


def _draws(convert: Conversion, load: FloatArray, weather: Weather) -> Mapping[str, FloatArray]:
    """Return the inputs of a conversion, or of several such machines above its rating. [MW]"""
    rated = convert.max_output(weather)
    try:
        if not 0.0 < rated[0] < load[0]:
            return convert.flows_at_output(load, weather).inputs
        flows = convert.flows_at_output(rated, weather)
        return {carrier: load / rated * draw for carrier, draw in flows.inputs.items()}
    except FloatingPointError as error:
        cause = "that is far too small"
        if rated[0] >= load[0]:
            cause = "one of its numbers is far too small or far too large"
        raise SiteError.single(
            convert.owner,
            IssueCode.OUT_OF_RANGE,
            f"[equipment.{convert.owner}]",
            found=f"{rated[0]:.4g} MW",
            expected=f"numbers without overflow at {load[0]:.4g} MW",
            remedy=f"correct it: {cause} ({error})",
        ) from error


def rated_outputs(site: Site) -> Mapping[str, float]:
    """Return the maximum output of each conversion on a mild day, by its owner. [MW]"""
    weather = mild_weather(site)
    return {convert.owner: float(convert.max_output(weather)[0]) for convert in site.conversions}


def mild_weather(site: Site) -> Weather:
    """Return one interval of a mild day."""
    return Weather.constant(
        air=MILD_TEMPERATURE_C,
        humidity=MILD_RELATIVE_HUMIDITY,
        pressure=float(psychrometrics.standard_pressure(site.elevation)),
    )


def undersized_machines(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for each machine whose rating is below its load with full halls."""
    full, ratings = design_loads(site, busy_share=1.0), rated_outputs(site)
    for convert in site.conversions:
        load, limit = full[convert.output_carrier], ratings[convert.owner]
        if load > limit:
            yield IssueCode.OUT_OF_RANGE.issue(
                f"[equipment.{convert.owner}]",
                found=f"{limit:.4g} MW",
                expected=f"at least {load:.4g} MW of {convert.output_carrier}",
                remedy="raise its rating: all racks at full load need this power",
            )
