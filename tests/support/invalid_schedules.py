"""Invalid schedules of the small site, each with one defect."""

import numpy as np

RACK_POWER = (3.696 - 0.672) / 28
"""What an uncapped rack draws above a waiting one. [MW]"""


def worked(schedule, power):
    """Return a schedule with other work, and the hall power to match."""
    added = power - schedule["work_power"].sum("cohort")
    schedule["work_power"].values[:] = 0.0
    schedule["work_power"][:, 0] = power
    schedule["work_racks"].values[:] = 0.0
    schedule["work_racks"][:, 0, -1] = schedule["work_power"][:, 0] / RACK_POWER
    schedule["hall_power"] += added / schedule.sizes["hall"]
    return tagged(schedule, "hall_power")


def tagged(schedule, *names, units="MW"):
    for name in names:
        schedule[name].attrs["units"] = units
    return schedule


def beyond_the_halls(schedule):
    return worked(schedule, 3.4)  # 3.696 MW is full, 0.672 MW idle, some service besides


def unequal_halls(schedule):
    schedule = worked(schedule, 1.8)
    moved = 1.9 - schedule["hall_power"][:, 0]
    schedule["hall_power"][:, 0] += moved
    schedule["hall_power"][:, 1] -= moved
    return schedule


def restless_halls(schedule):
    wave = np.where(np.arange(schedule.sizes["time"]) % 2, 0.0, 2.4)
    return worked(schedule, schedule["work_power"][:, 0].copy(data=wave))


def starved_service(schedule):
    schedule["hall_power"].values[:] = 0.34  # both halls barely above idle
    schedule["work_power"].values[:] = 0.0
    return schedule


def sleeping_halls(schedule):
    schedule["hall_power"] *= 0.9  # less than the jobs that it starts will draw
    return tagged(schedule, "hall_power")


def drained_battery(schedule):
    schedule["battery_discharge"].values[:] = 0.3  # 2.4 MWh of 1.28
    schedule["battery_charge"].values[:] = 0.0
    return schedule


def overfilled_tank(schedule):
    schedule["tank_charge"].values[:] = 0.2  # 1.6 MWh into room for 1
    schedule["tank_discharge"].values[:] = 0.0
    return schedule


def stronger_battery(schedule):
    schedule["battery_charge"].values[0] = 1.0
    schedule["battery_discharge"].values[0] = 0.0
    return schedule


def circling_battery(schedule):
    schedule["battery_charge"].values[:] = 0.3
    schedule["battery_discharge"].values[:] = 0.3
    return schedule


def more_sun_than_shines(schedule):
    schedule["renewable_used_power"] += 0.1
    return tagged(schedule, "renewable_used_power")


def storm_for_export(schedule):
    schedule["renewable_available_power"].values[:] = [0.44, 1.0]
    schedule["renewable_used_power"].values[:] = [0.44, 1.0]
    return worked(schedule, 0.0)


def beyond_the_connection(schedule):
    schedule = worked(schedule, 2.85)
    schedule["renewable_used_power"].values[:] = 0.0
    schedule["battery_charge"].values[:2] = 0.8
    schedule["battery_discharge"].values[:2] = 0.0
    return schedule


def heat_wave(schedule):
    schedule["air_temperature"].values[:] = 44.0  # dry coolers hold no 38 degC then
    return worked(schedule, 2.6)


def muggy_heat(schedule):
    schedule["air_temperature"].values[:] = 36.0
    schedule["relative_humidity"].values[:] = 0.95
    schedule["tank_charge"].values[:] = 0.28
    schedule["tank_discharge"].values[:] = 0.0
    return worked(schedule, 2.6)


PHYSICS = {
    beyond_the_halls: "hall_power of hall_1",
    unequal_halls: "hall_power of hall_1",
    restless_halls: "ramp of grid_import_power",
    starved_service: "service floor",
    sleeping_halls: "differs from its service and work",
    drained_battery: "battery_discharge of battery_1",
    overfilled_tank: "tank_charge of tank_1",
    stronger_battery: "battery_charge of battery_1",
    circling_battery: "both ways at once through battery_1",
    more_sun_than_shines: "renewable_used_power above",
    storm_for_export: "grid_export_power",
    beyond_the_connection: "grid_import_power",
    heat_wave: "facility_supply_temperature of warm_plant",
    muggy_heat: "rack_inlet_temperature of hall_air_1",
}
"""Defects that violate physics or limits, with the text of the verdict."""


def more_heat_than_the_town_takes(schedule):
    schedule["heat_reuse_power"] += 0.2
    return tagged(schedule, "heat_reuse_power")


def heat_of_idle_racks(schedule):
    schedule["air_temperature"].values[:] = -15.0  # the town takes all it can get
    schedule["heat_reuse_power"].values[:] = 0.95  # idle racks and the service give 0.85 MW
    return worked(schedule, 0.0)


HEAT = {
    more_heat_than_the_town_takes: "heat_reuse_power of pump beyond",
    heat_of_idle_racks: "heat_reuse_power of pump beyond",
}
"""Defects of heat reuse, with the text of the verdict."""


def understated_import(schedule):
    schedule["grid_import_power"] *= 0.9
    return tagged(schedule, "grid_import_power")


def overstated_export(schedule):
    schedule["grid_export_power"] += 0.2
    return tagged(schedule, "grid_export_power")


def negative_promise(schedule):
    for name in ("grid_import_power", "grid_export_power"):
        schedule[name] -= 3.0
    return tagged(schedule, "grid_import_power", "grid_export_power")


def bought_and_sold_at_once(schedule):
    for name in ("grid_import_power", "grid_export_power"):
        schedule[name] += 0.3
    return tagged(schedule, "grid_import_power", "grid_export_power")


def crowded_racks(schedule):
    schedule["work_racks"][:, 1, 0] += 20.0
    return schedule


def racks_below_nothing(schedule):
    schedule["work_racks"][:, 1, 0] += 20.0
    schedule["work_racks"][:, 2, 0] -= 20.0
    return schedule


def a_spot(name, value, **place):
    """Return a function that sets one value of a variable."""

    def spoil(schedule):
        schedule[name][{"time": 5, **place}] = value
        return schedule

    spoil.__name__ = f"{value}_in_{name}"
    return spoil


def without(name):
    def spoil(schedule):
        return schedule.drop_vars(name)

    spoil.__name__ = f"without_{name}"
    return spoil


def a_level_of_another_plan(schedule):
    """Only the level is wrong."""
    schedule["battery_level"].values[3:] += 0.05
    return schedule


def a_tank_that_fills_by_itself(schedule):
    schedule["tank_level"].values[:] += 0.4
    return schedule


def half_the_racks(schedule):
    schedule["work_racks"] *= 0.5
    return tagged(schedule, "work_racks", units="1")


def in_kilowatts(name):
    def spoil(schedule):
        return tagged(schedule, name, units="kW")

    spoil.__name__ = f"{name}_in_kilowatts"
    return spoil


def an_hour_later(schedule):
    later = {name: schedule[name] + np.timedelta64(1, "h") for name in ("time", "instant")}
    return schedule.assign_coords(later)


def intervals_twice_as_long(schedule):
    return schedule.assign_coords(duration=2.0 * schedule["duration"])


def a_hole_in_time(schedule):
    return schedule.isel(time=[*range(4), *range(5, schedule.sizes["time"])])


def backwards(schedule):
    return schedule.isel(time=slice(None, None, -1), instant=slice(None, None, -1))


def unannounced_heat(schedule):
    schedule["heat_reuse_power"].values[:] = 0.0  # its pump still draws what was promised
    schedule["grid_import_power"] += 0.2
    return tagged(schedule, "grid_import_power")


def another_pump(schedule):
    return schedule.assign_coords(heat_reuse=["pump_9"])


def one_hall_only(schedule):
    return schedule.isel(hall=[0])


def another_hall(schedule):
    return schedule.assign_coords(hall=["hall_1", "hall_9"])


def another_battery(schedule):
    return schedule.assign_coords(battery=["battery_9"])


FORM = [
    understated_import,
    overstated_export,
    negative_promise,
    bought_and_sold_at_once,
    crowded_racks,
    racks_below_nothing,
    a_spot("hall_power", np.nan, hall=0),
    a_spot("hall_power", np.inf, hall=0),
    a_spot("hall_power", -1.0, hall=0),
    a_spot("grid_import_power", np.nan),
    a_spot("grid_import_power", np.inf),
    a_spot("grid_export_power", np.inf),
    a_spot("battery_charge", np.nan, battery=0),
    a_spot("battery_charge", -0.2, battery=0),
    a_spot("tank_discharge", np.inf, tank=0),
    a_spot("renewable_used_power", np.nan, renewable=0),
    a_spot("renewable_available_power", np.nan, renewable=0),
    a_level_of_another_plan,
    a_tank_that_fills_by_itself,
    half_the_racks,
    a_spot("facility_power", np.nan),
    a_spot("facility_power", np.inf),
    a_spot("service_racks", np.nan),
    a_spot("service_racks", -30.0),
    in_kilowatts("battery_level"),
    a_spot("work_racks", np.nan, cohort=0, level=0),
    a_spot("work_power", np.nan, cohort=0),
    a_spot("air_temperature", np.nan),
    a_spot("air_pressure", np.nan),
    without("hall_power"),
    without("hall"),
    without("grid_import_power"),
    without("grid_export_power"),
    without("service_racks"),
    without("renewable_available_power"),
    without("work_power"),
    without("relative_humidity"),
    without("instant"),
    in_kilowatts("hall_power"),
    in_kilowatts("grid_import_power"),
    in_kilowatts("battery_discharge"),
    in_kilowatts("work_power"),
    an_hour_later,
    intervals_twice_as_long,
    a_hole_in_time,
    backwards,
    one_hall_only,
    another_hall,
    another_battery,
]
"""Defects of form, and values that contradict each other."""


HEAT_FORM = [
    a_spot("heat_reuse_power", np.nan, heat_reuse=0),
    a_spot("heat_reuse_power", np.inf, heat_reuse=0),
    a_spot("heat_reuse_power", -0.1, heat_reuse=0),
    in_kilowatts("heat_reuse_power"),
    another_pump,
    unannounced_heat,
]
"""The same of a site that sells heat."""
