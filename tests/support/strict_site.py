"""A site whose chillers need commitment: minimum times, and a cost of each start."""

PLANT = "chilled_plant"
RULES = {"minimum_up": 1.0, "minimum_down": 0.5, "start_cost": 20.0}


def strict(site, **rules):
    """Return a site whose chillers keep rules; by default those above. [h; EUR]"""
    plant = site.equipment[PLANT]
    chillers = plant.chillers.model_copy(update=rules or RULES)
    changed = plant.model_copy(update={"chillers": chillers})
    return site.with_equipment({**site.equipment, PLANT: changed})
