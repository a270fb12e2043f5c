"""Between which temperatures supply water can be: held at all, and spared by a CDU that trips."""

import numpy as np

from twin.equipment import Accelerators, Cdu, CoolingPlant
from twin.equipment.part_load import part_load_approach
from twin.physics import FloatArray
from twin.relations import SetPoints
from twin.site import Site
from twin.walk import Ceiling
from twin.weather import Weather


def warmest_without_one(
    site: Site, plant: CoolingPlant, cdu: Cdu, *, heat: FloatArray, points: SetPoints
) -> FloatArray:
    """Return the warmest supply water at which no chip slows down after a CDU has tripped.

    Parameters
    ----------
    site
        The site, with its contingency.
    plant, cdu
        The warm circuit and its bank of CDUs.
    heat
        Heat that the racks give to the coolant. [MW]
    points
        Set points that are tried.

    Returns
    -------
    numpy.ndarray
        Supply temperature; infinite where the bank has one unit, whose loss nothing endures. [degC]

    Notes
    -----
    The units left of a group carry the heat of all its racks, before their pumps have ramped up:
    coolant for each unit as before, in all less. A unit takes no more facility water than it is
    rated for. What coolant and plates hold is left out, which is on the safe side.
    """
    group = min(site.contingency.cdu_group, cdu.count)
    found = np.full(np.shape(heat), np.inf)
    if group == 1 or site.contingency.least_time == 0.0:
        return found
    left = (group - 1) / group
    taken = heat + cdu.pumping(heat, points)
    drawn = plant.share(heat, rated_heat=cdu.rated, rated_range=cdu.facility_range, points=points)
    water = np.maximum(taken / cdu.rated, cdu.minimum_flow) if drawn is None else drawn
    above = part_load_approach(
        taken,
        rated_heat=left * cdu.rated,
        rated_approach=cdu.approach,
        ranges=(cdu.technology_range, cdu.facility_range),
        minimum_flow=cdu.minimum_flow,
        fouling=cdu.fouling,
        shares=(cdu.flow(taken, points), np.minimum(water / left, np.maximum(water, 1.0))),
    )
    flow = left * cdu.plate_flow(heat, points)
    kept = site.contingency.throttle_margin + site.margins.temperature
    for hall in site.of(Accelerators):
        if not hall.is_air_cooled:
            busy = np.asarray(hall.rack_power)
            rise = hall.chip_temperature(busy, np.zeros(1), flow_share=flow)
            found = np.minimum(found, hall.chip_temperature_limit - kept - rise - above)
    return found


def coldest_held(plant: CoolingPlant, heat: FloatArray, weather: Weather) -> FloatArray:
    """Return the coldest supply water that coolers alone can hold, by the twin's own line.

    Parameters
    ----------
    plant
        The plant of a circuit.
    heat
        Heat that the circuit brings. [MW]
    weather
        Outdoor air.

    Returns
    -------
    numpy.ndarray
        Supply temperature, whatever is asked for; of chillers, that hold any, -infinity. [degC]
    """
    if plant.chillers is not None:
        return np.full(np.shape(heat), -np.inf)
    ceiling = Ceiling.of(plant, weather)
    return np.asarray(plant.supply_temperature + (heat - ceiling.base) / ceiling.rise)
