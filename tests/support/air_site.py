"""An air-cooled site: no coolant, no CDUs and no warm circuit."""

from twin.equipment import ITHall

AIR = {"liquid_share": 0.0, "chip_flow": 0.0, "air_resistance": 0.05}
"""A chip that air cools: 0.05 K over the air at the racks for each W."""


def airy(site, *halls):
    """Return a site with halls that air cools; with all of them it has no coolant any more.

    The other machines keep their sizes, and are too small for full halls.
    """
    names = halls or [hall.name for hall in site.machines_of(ITHall)]
    wet = () if halls else ("cdu_1", "warm_plant")
    kept = {name: machine for name, machine in site.equipment.items() if name not in wet}
    return site.with_equipment(kept | {name: kept[name].with_values(**AIR) for name in names})
