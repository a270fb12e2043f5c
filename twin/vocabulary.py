"""The table of names: unit, dimensions and meaning of every variable that crosses a door.

Names of equipment are ``<kind>_<role>``; names of the site are plain. No other spelling exists.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import xarray as xr

from twin.errors import Fault, UnitError


@dataclass(frozen=True)
class Term:
    """One word: its canonical unit, what it means, and its CF standard name if there is one."""

    unit: str
    meaning: str
    cf_name: str = ""


WORDS: Final[dict[str, Term]] = {
    # outside world
    "electricity_price": Term("EUR MWh-1", "day-ahead price of electricity"),
    "terminal_price": Term("EUR MWh-1", "what a MWh is expected to cost after the horizon"),
    "carbon_intensity": Term("kg MWh-1", "average carbon intensity of grid electricity"),
    "air_temperature": Term("degC", "dry-bulb temperature outdoors", "air_temperature"),
    "wet_bulb_temperature": Term("degC", "wet-bulb temperature outdoors", "wet_bulb_temperature"),
    "relative_humidity": Term("1", "relative humidity outdoors", "relative_humidity"),
    "air_pressure": Term("kPa", "station pressure", "air_pressure"),
    "wind_speed": Term("m s-1", "wind speed at 10 m", "wind_speed"),
    "cloud_cover": Term("1", "share of sky covered", "cloud_area_fraction"),
    "global_irradiance": Term(
        "W m-2", "global horizontal irradiance", "surface_downwelling_shortwave_flux_in_air"
    ),
    # grid and site
    "grid_import_power": Term("MW", "power taken from the grid at the connection"),
    "grid_export_power": Term("MW", "power given to the grid at the connection"),
    "grid_import_limit": Term("MW", "most power that may be taken from the grid"),
    "grid_import_target": Term("MW", "most net import that a partner asks for; infinite if none"),
    "grid_import_target_price": Term("EUR MWh-1", "cost of net import above a partner's target"),
    "day_ahead_position": Term("MW", "net import bought day-ahead; what is sold is negative"),
    "position_held": Term("1", "1 where a day-ahead position is held, else 0"),
    "imbalance_short_price": Term("EUR MWh-1", "paid for what is taken beyond the position"),
    "imbalance_long_price": Term("EUR MWh-1", "got for what is left of the position"),
    "intraday_price": Term("EUR MWh-1", "price of electricity intraday, between bid and ask"),
    "intraday_power": Term("MW", "net import bought intraday; what is sold is negative"),
    "matched_power": Term("MW", "contracted renewable power that reaches the grid elsewhere"),
    "baseline_import_power": Term("MW", "import that counts as undisturbed for settlement"),
    "baseline_export_power": Term("MW", "export that counts as undisturbed for settlement"),
    "setpoint_import_power": Term("MW", "import that is kept once the plant has turned to it"),
    "setpoint_export_power": Term("MW", "export that is kept once the plant has turned to it"),
    "grid_import_band": Term("MW", "quantiles of the import that a schedule leads to"),
    "grid_export_band": Term("MW", "quantiles of the export that a schedule leads to"),
    "reserve_up_power": Term("MW", "power by which net import can be lowered: upward regulation"),
    "reserve_down_power": Term("MW", "power by which net import can be raised"),
    "reserve_duration": Term("h", "how long a reserve can be kept"),
    "reserve_price": Term("EUR MW-1 h-1", "paid for a MW of a reserve product, held for an hour"),
    "reserve_held": Term("MW", "capacity of a reserve product that is sold already"),
    "reserve_called": Term("1", "share of what is sold that is called, or recovers from a call"),
    "reserve_capacity": Term("MW", "capacity of a reserve product that is held"),
    "reserve_shortfall": Term("MW", "capacity of a reserve product that is sold and not held"),
    "reserve_used_up": Term("MW", "power of a reserve product that was called upwards"),
    "reserve_used_down": Term("MW", "power of a reserve product that was called downwards"),
    "reserve_excused": Term("MW", "capacity that is sold and called, or recovers from a call"),
    "reserve_missed": Term("MW", "power of a reserve product that was called and not given"),
    "battery_reserve": Term("MW", "part of a reserve product's capacity that a battery holds"),
    "work_reserve": Term("MW", "part of a reserve product's capacity that work holds"),
    "recovery_energy": Term("MWh", "energy taken up again after an upward reserve is used"),
    "ramp_up_limit": Term("MW min-1", "fastest fall of net import left beside the plan"),
    "ramp_down_limit": Term("MW min-1", "fastest rise of net import left beside the plan"),
    "node_voltage": Term("1", "voltage of a node of the network, share of nominal"),
    "branch_loading": Term("1", "load of the most loaded unit of a branch, share of its rating"),
    "branch_loss": Term("MW", "power that a branch of the network turns into heat"),
    "network_loss": Term("MW", "power that all branches of the network turn into heat"),
    "connection_power": Term("MW", "power taken from the grid by load flow"),
    "connection_reactive_power": Term("Mvar", "reactive power taken from the grid"),
    "unserved_power": Term("MW", "power of loads left without supply by an outage"),
    "renewable_available_power": Term("MW", "power that sun or wind would give"),
    "renewable_used_power": Term("MW", "power taken from sun, wind or a contract"),
    "renewable_available": Term("1", "1 if the source may be planned on, else 0"),
    "renewable_status": Term("1", "1 if the source operates, else 0"),
    "renewable_request": Term("MW", "most that the service wants taken from sun or wind"),
    "renewable_applied": Term("MW", "most that the plant takes from sun or wind"),
    "it_power": Term("MW", "power at the outputs of the UPS"),
    "facility_power": Term("MW", "power of the whole site before its own generation and battery"),
    "cooling_load": Term("MW", "heat that a circuit has to carry away"),
    "cooling_power": Term("MW", "electric power of all cooling"),
    "heat_reuse_power": Term("MW", "heat handed over to a district-heat network"),
    "genset_power": Term("MW", "power that gensets are told to give"),
    "water_use": Term("m3 h-1", "water drawn for evaporation and blow-down"),
    # heat chain
    "facility_supply_temperature": Term("degC", "temperature of the water a circuit delivers"),
    "facility_arriving_temperature": Term("degC", "temperature of a circuit's water at the halls"),
    "facility_return_temperature": Term("degC", "temperature of the water that comes back"),
    "facility_flow": Term("kg s-1", "mass flow of a circuit"),
    "technology_supply_temperature": Term("degC", "temperature of the coolant at the racks"),
    "technology_return_temperature": Term("degC", "temperature of the coolant behind the racks"),
    "facility_supply_set_point": Term("degC", "temperature that a circuit's supply is held at"),
    "facility_range_set_point": Term("K", "warming of a circuit's water that its flow follows"),
    "technology_range_set_point": Term("K", "warming of the coolant that its flow follows"),
    "technology_supply_set_point": Term("degC", "coolant temperature that a CDU aims at"),
    "technology_supply_request": Term("degC", "coolant temperature that the service asks for"),
    "facility_supply_request": Term("degC", "supply temperature that the service asks for"),
    "facility_supply_applied": Term("degC", "supply temperature that the plant aims at"),
    "facility_range_request": Term("K", "warming of a circuit's water that the service asks for"),
    "facility_range_applied": Term("K", "warming of a circuit's water that the plant aims at"),
    "technology_range_request": Term("K", "warming of the coolant that the service asks for"),
    "technology_range_applied": Term("K", "warming of the coolant that the plant aims at"),
    "facility_enabled": Term("1", "1 if a circuit follows what the service asks for, else 0"),
    "rack_inlet_temperature": Term("degC", "temperature of the air at the racks"),
    "chip_temperature": Term("degC", "case temperature of the hottest accelerator"),
    "chip_power": Term("MW", "power of one accelerator"),
    "rack_power": Term("MW", "power of one rack, at its inlet"),
    "rack_supply_temperature": Term("degC", "temperature of the coolant into one rack"),
    "rack_return_temperature": Term("degC", "temperature of the coolant out of one rack"),
    "rack_flow": Term("kg s-1", "mass flow of coolant through one rack"),
    # halls and work
    "accelerator_power": Term("MW", "power of a hall's accelerators, as they say themselves"),
    "accelerator_utilisation": Term("1", "mean utilisation of a hall's accelerators"),
    "cpu_share": Term("1", "where the CPUs of a chassis stand between idle, 0, and full, 1"),
    "gpu_share": Term("1", "where its accelerators stand between idle, 0, and full, 1"),
    "racks_heard": Term("1", "share of a hall's racks whose accelerators are heard"),
    "hall_power": Term("MW", "power of the racks of a hall, at their inlets"),
    "hall_power_cap": Term("MW", "greatest power that a hall may draw"),
    "hall_work_done": Term("MWh", "work done, as energy of uncapped racks"),
    "service_power": Term("MW", "power of the inference service that must be served"),
    "work_racks": Term("1", "racks that run a kind of work"),
    "work_power": Term("MW", "power above idle of a kind of work"),
    "work_backlog": Term("MWh", "work arrived and not yet done, as energy of uncapped racks"),
    "work_least": Term("MWh", "work that must be done by an instant"),
    "work_most": Term("MWh", "work that can be done by an instant"),
    "work_late": Term("MWh", "work that should have been done by an instant and is not"),
    "work_racks_limit": Term("1", "most racks that the jobs of a kind of work can use"),
    "work_racks_running": Term("1", "racks that run a kind of work when a horizon begins"),
    "work_rest": Term("h", "time that racks of a kind of work have to run, uncapped, on average"),
    "service_racks": Term("1", "racks busy with the inference service"),
    # life of the connection
    "plant_heartbeat": Term("ms", "clock of the plant's management system, Unix time"),
    "plant_heartbeat_echo": Term("ms", "our clock as the plant has heard it, Unix time"),
    "service_heartbeat": Term("ms", "clock of the service, Unix time"),
    "service_heartbeat_echo": Term("ms", "the plant's clock as the service heard it, Unix time"),
    # sums and indicators
    "money": Term("EUR", "what an account weighs in the objective over the interval"),
    "time_to_limit": Term("min", "time from a failure until the first limit is reached"),
    "peak_power": Term("MW", "greatest import of the billing period so far"),
    "usual_power": Term("MW", "mean import of about the last week"),
    "pue": Term("1", "power usage effectiveness, EN 50600-4-2"),
    "wue": Term("m3 MWh-1", "water usage effectiveness, EN 50600-4-9"),
    "cue": Term("kg MWh-1", "carbon usage effectiveness, EN 50600-4-8"),
    "erf": Term("1", "energy reuse factor, EN 50600-4-6"),
    "ref": Term("1", "renewable energy factor, EN 50600-4-3"),
    "closure": Term("1", "greatest relative error of the energy balance of any node"),
}
"""Words of the site as a whole."""

ROLES: Final[dict[str, Term]] = {
    "draw": Term("MW", "electric power drawn"),
    "output": Term("MW", "power or cooling delivered"),
    "loss": Term("MW", "power turned into heat inside"),
    "fuel": Term("MW", "heating value of the fuel burnt"),
    "loading": Term("1", "load as a share of the rating"),
    "limit": Term("MW", "most that can be delivered"),
    "fan_power": Term("MW", "electric power of the fans"),
    "pump_power": Term("MW", "electric power of the pumps"),
    "compressor_power": Term("MW", "electric power of the compressors"),
    "extrapolated": Term("1", "1 where the weather lies outside a correlation, held at its end"),
    "free_share": Term("1", "share of the load cooled without compressors"),
    "units_on": Term("1", "number of machines that run"),
    "units_request": Term("1", "number of machines that the service asks to run"),
    "units_applied": Term("1", "number of machines that the plant runs of those asked for"),
    "flow": Term("kg s-1", "mass flow"),
    "blow_down": Term("m3 h-1", "water let out, so that solids do not concentrate"),
    "rejected_heat": Term("MW", "heat given to the outdoor air"),
    "passed_heat": Term("MW", "heat passed on to the facility water"),
    "kept_heat": Term("MW", "heat that warms what the machine holds; below 0 where it cools"),
    "source_heat": Term("MW", "heat taken from a circuit to be used"),
    "condenser_temperature": Term("degC", "temperature of the water leaving the condensers"),
    "charge": Term("MW", "power or cooling put into the store"),
    "discharge": Term("MW", "power or cooling taken from the store"),
    "level": Term("MWh", "energy or cooling kept in the store"),
    "available": Term("1", "1 if the machine may be planned on, else 0"),
    "status": Term("1", "1 if the machine operates, else 0"),
    "request": Term("MW", "power that the service asks for; to charge a store is positive"),
    "applied": Term("MW", "power that the plant sets; to charge a store is positive"),
}
"""Roles of equipment; the full name is ``<kind>_<role>``."""

KINDS: Final = (
    "grid",
    "transformer",
    "switchgear",
    "genset",
    "ups",
    "distribution",
    "battery",
    "accelerators",
    "cdu",
    "hall_air",
    "cooling_plant",
    "heat_reuse",
    "tank",
    "photovoltaic",
    "wind",
)
"""Kinds of equipment that may stand before a role."""


@cache
def term(name: str) -> Term:
    """Return the declared term of a name.

    Parameters
    ----------
    name
        A word of the site, or ``<kind>_<role>``.

    Returns
    -------
    Term
        Its unit and meaning.

    Raises
    ------
    UnitError
        If the name is not declared.
    """
    if name in WORDS:
        return WORDS[name]
    for kind in KINDS:
        role = name.removeprefix(f"{kind}_")
        if role != name and role in ROLES:
            return ROLES[role]
    mend = "use a name of twin/vocabulary.py, or declare it there"
    raise UnitError("vocabulary", [Fault(place=name, value="", mend=mend)])


def attributes(name: str) -> dict[str, str]:
    """Return what a variable of a declared name says of itself: its unit and meaning."""
    word = term(name)
    attrs = {"units": word.unit, "long_name": word.meaning}
    return attrs | ({"standard_name": word.cf_name} if word.cf_name else {})


def tag(array: xr.DataArray, name: str) -> xr.DataArray:
    """Return the array under its declared name, with unit and meaning in its attributes."""
    return array.rename(name).assign_attrs(attributes(name))


def tag_all(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with every variable tagged by its own name; see :func:`tag`."""
    tagged = dataset.copy(deep=False)
    for name, array in tagged.data_vars.items():
        array.attrs.update(attributes(str(name)))  # of the copy, which has attributes of its own
    return tagged


def check(dataset: xr.Dataset, *names: str) -> xr.Dataset:
    """Return the dataset if it holds the names, each in its canonical unit.

    Parameters
    ----------
    dataset
        What somebody handed in.
    names
        Variables that must be there.

    Returns
    -------
    xarray.Dataset
        The same dataset.

    Raises
    ------
    UnitError
        If a variable is missing, or has no unit, or another one; all faults at once. Or if it is
        no dataset.
    """
    if not isinstance(dataset, xr.Dataset):
        fault = Fault(place="it", value=type(dataset).__name__, mend="must be an xarray.Dataset")
        raise UnitError("dataset", [fault])
    faults = []
    for name in names:
        unit = term(name).unit
        if name not in dataset:
            faults.append(Fault(place=name, value="", mend="the variable is missing"))
        elif (told := dataset.variables[name].attrs.get("units")) != unit:
            shown = repr(told)
            faults.append(Fault(place=name, value=shown, mend=f'attrs["units"] must be "{unit}"'))
    if faults:
        raise UnitError("dataset", faults)
    return dataset
