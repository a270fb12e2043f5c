"""A site: its place, its machines, the work it does, and what it counts."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, SerializeAsAny, ValidationError

from twin.contingency import Contingency
from twin.electrical.network import Network
from twin.equipment import (
    Accelerators,
    Battery,
    CarbonBudget,
    Cdu,
    CoolingPlant,
    DayAhead,
    Distribution,
    Equipment,
    Genset,
    Grid,
    HallAir,
    HeatReuse,
    HourlyMatching,
    LoadTargetContract,
    Photovoltaic,
    Switchgear,
    Tank,
    Transformer,
    Ups,
    WaterBudget,
    Wind,
)
from twin.equipment.declaration import Declared
from twin.errors import Fault, SiteError, nearest
from twin.market_day import market_day_zone
from twin.peaks import Peak
from twin.physics import FloatArray
from twin.promises import Commitment
from twin.relations import Convert, Exchange, Relation, Store, Units, Work
from twin.reserves import Reserve
from twin.rules import SetPointRules
from twin.tariffs import charges
from twin.tariffs.billing import Billing
from twin.tariffs.declaration import Tariff
from twin.units import Meaning, Quantity
from twin.workloads.kinds import Service, WorkKind

KINDS: Final[Mapping[str, type[Equipment]]] = {
    kind.kind: kind
    for kind in (
        Accelerators,
        Battery,
        LoadTargetContract,
        DayAhead,
        HourlyMatching,
        CarbonBudget,
        WaterBudget,
        Cdu,
        CoolingPlant,
        Distribution,
        Genset,
        Grid,
        HallAir,
        HeatReuse,
        Photovoltaic,
        Switchgear,
        Tank,
        Transformer,
        Ups,
        Wind,
    )
}
"""Kinds of equipment that a site file may declare, by the word for them."""


class Weights(Declared):
    """What a decision minimises beside money."""

    carbon: Annotated[float, Quantity("EUR kg-1", "price put on carbon", at_least=0)] = 0.0
    water: Annotated[float, Quantity("EUR m-3", "price of water", at_least=0)] = 0.0
    lateness: Annotated[
        float, Quantity("EUR MWh-1", "price of a MWh of work not done when due", above=0)
    ] = 200.0


class Margins(Declared):
    """How far a plan stays from the limits, since the plant differs from the model."""

    power: Annotated[float, Quantity("1", "share of power limits kept free", at_least=0)] = 0.02
    peak: Annotated[float, Quantity("1", "share of the running peak kept free", at_least=0)] = 0.03
    temperature: Annotated[float, Quantity("K", "kept below temperature limits", at_least=0)] = 1.0
    level: Annotated[float, Quantity("1", "share of stores kept free at both ends", at_least=0)] = (
        0.02
    )


class Scenarios(Declared):
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


class Site(Declared):
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
    title: Annotated[str, Meaning("what stands above tables and pictures")]
    zone: Annotated[str, Meaning("bidding zone of its prices, as `DE-LU`")]
    time_zone: Annotated[
        str,
        Meaning("IANA zone of its clock, as `Europe/Berlin`: days, months and windows are by it"),
    ]
    market_time_zone: Annotated[
        str | None,
        Meaning(
            "IANA zone of the market's day; none: Central European time in Europe, else its own"
        ),
    ] = None
    latitude: Annotated[float, Quantity("1", "degrees north", at_least=-90, at_most=90)]
    longitude: Annotated[float, Quantity("1", "degrees east", at_least=-180, at_most=180)]
    elevation: Annotated[float, Quantity("m", "above the sea", at_least=-500, below=5000)]
    equipment: Mapping[str, SerializeAsAny[Equipment]]
    work: Mapping[str, WorkKind]
    service: Service
    weights: Weights = Weights()
    margins: Margins = Margins()
    contingency: Contingency = Contingency()
    set_points: SetPointRules = SetPointRules()
    scenarios: Scenarios = Scenarios()
    network: Network | None = None
    reserves: Mapping[str, Reserve] = {}
    tariffs: Mapping[str, Tariff] = {}

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """All relations of all machines, in the order of the file."""
        return tuple(r for machine in self.equipment.values() for r in machine.relations())

    @cached_property
    def converts(self) -> tuple[Convert, ...]:
        """Conversions: all that draw a carrier stand before what relieves or delivers it."""
        waiting = [r for r in self.relations if isinstance(r, Convert)]
        ordered: list[Convert] = []
        while waiting:
            drawn = {carrier for convert in waiting for carrier in convert.draws}
            used = {c for convert in waiting for c in convert.draws if c != convert.relieves}
            free = [c for c in waiting if c.output not in drawn and c.relieves not in used]
            if not free:
                circle = ", ".join(sorted(convert.owner for convert in waiting))
                mend = "machines draw on one another in a circle; cut one draw"
                raise SiteError(self.name, [Fault(place=circle, value="", mend=mend)])
            ordered += free
            waiting = [convert for convert in waiting if convert not in free]
        return tuple(ordered)

    @cached_property
    def committed(self) -> Mapping[str, Units]:
        """The units that plans have to commit, by their bank."""
        return {c.owner: c.units for c in self.converts if c.units is not None}

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
    def works(self) -> tuple[Work, ...]:
        """The work of all halls."""
        return tuple(r for r in self.relations if isinstance(r, Work))

    @cached_property
    def peaks(self) -> tuple[Peak, ...]:
        """All charges on peaks, by the tariffs where there are any."""
        plain = (relation for relation in self.relations if isinstance(relation, Peak))
        return tuple(one for peak in plain for one in charges.of_site(peak, self.billing))

    @property
    def market_day_zone(self) -> str:
        """IANA zone by which the day-ahead market keeps its day and publishes its prices."""
        return self.market_time_zone or market_day_zone(self.time_zone)

    @cached_property
    def billing(self) -> Billing:
        """How the import is billed."""
        return Billing(self.time_zone, self.tariffs)

    def import_fees(self, moments: NDArray[np.datetime64]) -> FloatArray:
        """Return network fee and taxes on import in intervals that begin then. [EUR MWh-1]"""
        return self.grid.import_fee + self.billing.energy_prices(moments)

    def mean_import_fees(self, instants: NDArray[np.datetime64]) -> FloatArray:
        """Return the same on the mean of each interval between two instants. [EUR MWh-1]"""
        return self.grid.import_fee + self.billing.mean_energy_prices(instants)

    @cached_property
    def commitments(self) -> tuple[Commitment, ...]:
        """All promises about sums of flows."""
        return tuple(r for r in self.relations if isinstance(r, Commitment))

    def of[T: Equipment](self, kind: type[T]) -> tuple[T, ...]:
        """Return the machines of one kind, in the order of the file."""
        return tuple(m for m in self.equipment.values() if isinstance(m, kind))

    @property
    def grid(self) -> Grid:
        """The connection."""
        return self.of(Grid)[0]

    @property
    def racks(self) -> int:
        """Number of accelerator racks of all halls. [1]"""
        return sum(hall.racks for hall in self.of(Accelerators))

    def replace(self, machine: str, **values: object) -> Self:
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
            fault = Fault(place=machine, value="", mend=f"no such machine; there are {known}")
            raise SiteError(self.name, [fault])
        try:
            changed = self.equipment[machine].changed(**values)
        except ValidationError as error:
            raise SiteError(self.name, faults_of(error, self.equipment[machine])) from error
        return self.with_equipment({**self.equipment, machine: changed})

    def with_equipment(self, equipment: Mapping[str, Equipment]) -> Self:
        """Return a copy of the site with other machines; the network loses feeds of lost ones."""
        network = self.network and self.network.keeping(equipment)
        return self._with(equipment=dict(equipment), network=network)

    def with_network(self, network: Network | None) -> Self:
        """Return a copy of the site with another network."""
        return self._with(network=network)

    def with_margins(self, margins: Margins) -> Self:
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


def faults_of(error: ValidationError, machine: Equipment) -> list[Fault]:
    """Return the faults that pydantic found in a machine, each with its place and value."""
    faults = []
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
                words += f" of {kind}{nearest(steps[0], known)}"
        place = ".".join(["equipment", machine.name, *steps])
        faults.append(Fault(place=place, value=value, mend=words))
    return faults
