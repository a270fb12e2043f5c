"""An air-cooled site: no coolant, no CDUs and no warm circuit."""

from twin.equipment import ITHall

AIR = {"liquid_share": 0.0, "chip_flow": 0.0, "air_resistance": 0.05}
"""A chip that air cools: 0.05 K over the air at the racks for each W."""


def airy(site, *halls):
    """Return a site with halls that air cools; with all of them it has no coolant any more."""
    for hall in halls or [hall.name for hall in site.machines_of(ITHall)]:
        site = site.with_parameters(hall, **AIR)
    wet = () if halls else ("cdu_1", "warm_plant")
    return site.with_equipment({k: v for k, v in site.equipment.items() if k not in wet})
