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
        start and transfer. It is held by the UPS, for its autonomy, and by what batteries keep
        below their reserve.
    """
    full, least = demand(site, busy=1.0), demand(site, busy=site.service.racks / site.racks)
    held = site.contingency.ups_autonomy / SECONDS * full["critical"]
    for battery in site.of(Battery):
        held += battery.reserve * battery.usable * battery.discharge_efficiency
    for genset in site.of(Genset):
        place = f"equipment.{genset.name}"
        floor = genset.charge_floor(full["critical"])
        if held < floor:
            mend = (
                f"the sets take {genset.bridge_time:g} s with transfer and failed starts, "
                f"{floor:.3g} MWh of critical load; UPS and reserves of batteries hold "
                f"{held:.3g} MWh; raise contingency.ups_autonomy or a battery's reserve"
            )
            yield Fault(
                place=spot(place, "start_time"), value=f"{genset.start_time:g} s", mend=mend
            )
        start = genset.start_time + genset.transfer_time
        if site.contingency.power_gap < start:
            mend = f"{genset.name} gives power after {start:g} s at the earliest; raise the gap"
            gap = f"{site.contingency.power_gap:g} s"
            yield Fault(place=spot("contingency", "power_gap"), value=gap, mend=mend)
        if genset.limit < least["medium_voltage"]:
            mend = (
                f"without {genset.spare} spare the sets give {genset.limit:.4g} MW, but "
                f"the inference service and the racks that wait need "
                f"{least['medium_voltage']:.4g} MW; declare more sets"
            )
            yield Fault(place=spot(place, "count"), value=f"{genset.count}", mend=mend)
