"""All points of the plant of a site, with their metadata: what its management system announces.

The paths of power and liquid follow from the relations of the machines: whoever delivers a carrier
serves those who draw it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from telemetry.metadata import points
from telemetry.metadata.points import MEANINGS, Meaning
from telemetry.samples import PointMetadata
from twin.equipment import Accelerators, Cdu, Equipment
from twin.relations import ENERGY_SIGN, Convert, Exchange, Store, Work
from twin.site import Site

COMMITTED: Final = ("cooling_plant_units_request", "cooling_plant_units_applied")
"""Words of the points of a site whose plans commit units."""

_RACK_DIGITS: Final = 4
_UNIT_DIGITS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One point of a site.

    Attributes
    ----------
    metadata
        As it is announced.
    meaning
        Its row in the table.
    machine
        Id of the machine in the site file, or "" for the site itself.
    label
        Id of the very object: of the machine, one unit of a bank, one rack, or "".
    """

    metadata: PointMetadata
    meaning: Meaning
    machine: str
    label: str


def points_of(site: Site) -> Iterator[PointMetadata]:
    """Yield the metadata of all points of a site, ours to write included."""
    for listed in list_points(site):
        yield listed.metadata


def list_points(site: Site) -> Iterator[Listed]:
    """Yield all points of a site with their rows in the table, machine by machine."""
    paths, meanings = Paths.of(site), tuple(_meanings(site))
    for meaning in meanings:
        if not meaning.kinds:
            yield _of_site(site, meaning)
    for machine in site.equipment.values():
        for meaning in meanings:
            if machine.kind in meaning.kinds:
                for label in labels(machine, meaning):
                    metadata = _metadata(site, meaning, machine=machine, label=label, paths=paths)
                    yield Listed(
                        metadata=metadata, meaning=meaning, machine=machine.name, label=label
                    )


def labels(machine: Equipment, meaning: Meaning) -> list[str]:
    """Return the ids of the objects of a machine that have a kind of point each."""
    if meaning.object_type == points.RACK and isinstance(machine, Accelerators):
        return racks_of(machine)
    if isinstance(machine, Cdu):
        return units_of(machine)
    return [machine.name]


def _meanings(site: Site) -> Iterator[Meaning]:
    """Yield the rows of a site: its chillers are asked for where plans commit some of them."""
    for meaning in MEANINGS:
        if site.committed or meaning.variable not in COMMITTED:
            yield meaning


def racks_of(hall: Accelerators) -> list[str]:
    """Return the locations of the racks of a hall, as plant and cluster know them."""
    return [f"{hall.name}-{rack_name(number)}" for number in range(1, hall.racks + 1)]


def rack_name(number: int) -> str:
    """Return the name of a rack in its hall: ``r0001`` is the first."""
    return f"r{number:0{_RACK_DIGITS}d}"


def units_of(bank: Cdu) -> list[str]:
    """Return the ids of the units of a bank."""
    return [f"{bank.name}/{number:0{_UNIT_DIGITS}d}" for number in range(1, bank.count + 1)]


@dataclass(frozen=True)
class Paths:
    """Who serves whom: object id -> ids downstream."""

    power: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cooling: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, site: Site) -> "Paths":
        """Return the paths of a site."""
        sources: list[tuple[str, str]] = []
        users: dict[str, list[str]] = {}
        for relation in site.relations:
            match relation:
                case Convert(owner=owner, output=output, draws=draws):
                    sources.append((owner, output))
                    for carrier in draws:
                        users.setdefault(carrier, []).append(owner)
                case Store(owner=owner, carrier=carrier) | Exchange(owner=owner, carrier=carrier):
                    sources.append((owner, carrier))
                case Work(owner=owner, carrier=carrier, heat=heat):
                    for drawn in (carrier, *heat):
                        users.setdefault(drawn, []).append(owner)
        paths = cls()
        for owner, carrier in sources:
            side = paths.power if ENERGY_SIGN[carrier] > 0 else paths.cooling
            side[owner] = tuple(_objects(site, users.get(carrier, [])))
        paths._reach_racks(site)
        return paths

    def _reach_racks(self, site: Site) -> None:
        """Lead power from the halls, and coolant from each CDU, to the racks."""
        halls = site.of(Accelerators)
        self.power.update({hall.name: tuple(racks_of(hall)) for hall in halls})
        racks = [rack for hall in halls for rack in racks_of(hall)]
        units = [unit for bank in site.of(Cdu) for unit in units_of(bank)]
        for place, unit in enumerate(units):
            first, last = (len(racks) * edge // len(units) for edge in (place, place + 1))
            self.cooling[unit] = tuple(racks[first:last])


def _objects(site: Site, owners: list[str]) -> Iterator[str]:
    """Yield the ids of the objects that stand for some machines."""
    for owner in owners:
        machine = site.equipment[owner]
        if isinstance(machine, Cdu):
            yield from units_of(machine)
        else:
            yield owner


def _metadata(
    site: Site, meaning: Meaning, *, machine: Equipment, label: str, paths: Paths
) -> PointMetadata:
    """Return the metadata of a point of a machine.

    Meters name the path of power. What belongs to a metered machine is associated with its meter,
    so that no second path appears; machines for cooling name the path of liquid or air themselves.
    """
    is_rack = meaning.object_type == points.RACK
    is_meter = meaning.object_type == points.METER
    is_part = meaning.object_type == points.SENSOR or machine.kind not in points.COOLED
    is_associated = is_part and not is_meter and not is_rack
    serves = (paths.power if is_meter else paths.cooling).get(label, ())
    if is_meter and machine.kind in points.COOLED:
        serves = ()
    tag = label.replace("-", "/") if is_rack else label
    return replace(
        _bare(site, meaning, tag),
        object_id="" if is_rack else label,
        object_name="" if is_rack or is_associated else label,
        is_associated=is_associated,
        serves=() if is_associated or is_rack else serves,
        rack=label if is_rack else "",
        rack_name=label if is_rack else "",
    )


def _of_site(site: Site, meaning: Meaning) -> Listed:
    owner = meaning.owner
    metadata = replace(_bare(site, meaning, owner), object_id=owner, object_name=owner)
    return Listed(metadata=metadata, meaning=meaning, machine="", label="")


def _bare(site: Site, meaning: Meaning, tag: str) -> PointMetadata:
    """Return what all points of a meaning share; the path is unique and says nothing else."""
    path = f"{site.name}/{tag}/{meaning.variable}"
    return PointMetadata(
        point=f"{meaning.object_type}/{meaning.point_type}/{path}",
        object_type=meaning.object_type,
        point_type=meaning.point_type,
        unit=meaning.unit,
        state_text=meaning.states,
        process_area=meaning.process_area,
        integration=meaning.integration,
        is_setpoint=meaning.is_setpoint,
    )
