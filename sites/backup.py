"""Whether what a site holds and starts carries it when its connection is lost."""

from collections.abc import Iterator
from typing import Final

from sites.faults import spot
from sites.sizing import demand
from twin.equipment import Battery, Genset
from twin.errors import Fault
from twin.site import Site

SECONDS: Final = 3600.0
"""Seconds in an hour."""


def check_backup(site: Site) -> Iterator[Fault]:
    """Yield gensets that start too late or carry too little, and stores that hold too little.

    Parameters
    ----------
    site
        A site where every carrier has its supplier; without gensets it promises nothing.

    Yields
    ------
    Fault
        The charge that must never be traded is the critical power over the time of failed starts,
        start, transfer and blocks. It is held by the UPS, for its autonomy, and by what batteries
        keep below their reserve, as far as their power gives it in that time. All banks of sets
        carry the load together.
    """
    full, least = demand(site, busy=1.0), demand(site, busy=site.service.racks / site.racks)
    critical, needed = full["critical"], least["medium_voltage"]
    for genset in site.of(Genset):
        place = f"equipment.{genset.name}"
        floor = genset.charge_floor(critical)
        hours = floor / critical if critical else 0.0
        held = site.contingency.ups_autonomy / SECONDS * critical
        held += sum(_given(battery, hours) for battery in site.of(Battery))
        if held < floor:
            mend = (
                f"the sets take {SECONDS * hours:g} s with failed starts, transfer and blocks, "
                f"{floor:.3g} MWh of critical load; UPS and reserves of batteries give "
                f"{held:.3g} MWh in that time; raise contingency.ups_autonomy, or the reserve "
                "or the power of a battery"
            )
            yield Fault(
                place=spot(place, "start_time"), value=f"{genset.start_time:g} s", mend=mend
            )
        start = genset.start_time + genset.transfer_time
        if site.contingency.power_gap < start:
            mend = f"{genset.name} gives power after {start:g} s at the earliest; raise the gap"
            gap = f"{site.contingency.power_gap:g} s"
            yield Fault(place=spot("contingency", "power_gap"), value=gap, mend=mend)
    sets = site.of(Genset)
    limit = sum(genset.limit for genset in sets)
    if sets and limit < needed:
        spare = ", ".join(f"{genset.spare} spare of {genset.name}" for genset in sets)
        mend = (
            f"without {spare} the sets give {limit:.4g} MW, but the inference service and the "
            f"racks that wait need {needed:.4g} MW; declare more sets"
        )
        place = spot(f"equipment.{sets[-1].name}", "count")
        yield Fault(place=place, value=f"{sets[-1].count}", mend=mend)


def _given(battery: Battery, hours: float) -> float:
    """Return the energy that a battery gives at the bus from below its reserve. [MWh]"""
    kept = battery.reserve * battery.usable * battery.discharge_efficiency
    return min(kept, battery.limit * hours)
