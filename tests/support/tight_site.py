"""The small site on a hot night with small chillers: at full work it needs all of them."""

from dataclasses import replace

from tests.support.invalid_schedules import worked
from twin.simulation.simulate import simulate
from twin.site_settings import ResilienceSettings


def tight(problem, share=0.66, **plan):
    """Return a problem whose chillers give a share of theirs, with other provisions."""
    site = problem.site
    plant = site.equipment["chilled_plant"]
    rated = share * plant.chillers.rated_cooling
    chillers = plant.chillers.model_copy(update={"rated_cooling": rated})
    small = plant.model_copy(update={"chillers": chillers})
    site = site.with_equipment({**site.equipment, "chilled_plant": small})
    provided = ResilienceSettings.model_validate(plan, context={"canonical": True})
    return replace(problem, site=site.model_copy(update={"contingency": provided}))


def hot_night(problem, **plan):
    """Return a question on a hot night, at a site that misses any chiller at full work."""
    wanted = tight(problem, 0.7, chiller_start=600.0, **plan)
    outlook = wanted.outlook.copy(deep=True)
    outlook["air_temperature"].values[:] = 30.0
    outlook["relative_humidity"].values[:] = 0.6
    return replace(wanted, outlook=outlook)


def hot(problem, schedule, work):
    """Return an honest schedule of some work [MW] on a hot night."""
    made = worked(schedule.copy(deep=True), work)
    made["air_temperature"].values[:] = 30.0
    made["relative_humidity"].values[:] = 0.6
    for name in ("tank_charge", "tank_discharge"):
        made[name].values[:] = 0.0
    replay = simulate(problem.site, problem.state, made)
    for name in ("grid_import_power", "grid_export_power", "battery_level", "tank_level"):
        made[name].values = replay[name].to_numpy()
    return made
