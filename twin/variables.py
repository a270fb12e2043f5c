"""The table of names: unit, dimensions and meaning of every variable that crosses a door.

Names of equipment are ``<kind>_<role>``; names of the site are plain. No other spelling exists.

What a labelled dataset says of each machine, found by place.

A label that xarray seeks takes ten times as long, and a decision asks some hundreds of times.

What a site exchanges with its grid.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final, cast

import numpy as np
import xarray as xr

from twin.errors import UnitError, ValidationIssue
from twin.physics import FloatArray


@dataclass(frozen=True)
class VariableDefinition:
    """One word: its canonical unit, what it means, and its CF standard name if there is one."""

    unit: str
    meaning: str
    standard_name: str = ""


SITE_VARIABLES: Final[dict[str, VariableDefinition]] = {
    # outside world
    "electricity_price": VariableDefinition("EUR MWh-1", "day-ahead price of electricity"),
    "terminal_price": VariableDefinition(
        "EUR MWh-1", "what a MWh is expected to cost after the horizon"
    ),
    "carbon_intensity": VariableDefinition(
        "kg MWh-1", "average carbon intensity of grid electricity"
    ),
    "air_temperature": VariableDefinition(
        "degC", "dry-bulb temperature outdoors", "air_temperature"
    ),
    "wet_bulb_temperature": VariableDefinition(
        "degC", "wet-bulb temperature outdoors", "wet_bulb_temperature"
    ),
    "relative_humidity": VariableDefinition("1", "relative humidity outdoors", "relative_humidity"),
    "air_pressure": VariableDefinition("kPa", "station pressure", "air_pressure"),
    "wind_speed": VariableDefinition("m s-1", "wind speed at 10 m", "wind_speed"),
    "cloud_cover": VariableDefinition("1", "share of sky covered", "cloud_area_fraction"),
    "global_irradiance": VariableDefinition(
        "W m-2", "global horizontal irradiance", "surface_downwelling_shortwave_flux_in_air"
    ),
    # grid and site
    "grid_import_power": VariableDefinition("MW", "power taken from the grid at the connection"),
    "grid_export_power": VariableDefinition("MW", "power given to the grid at the connection"),
    "grid_import_limit": VariableDefinition("MW", "most power that may be taken from the grid"),
    "grid_import_target": VariableDefinition(
        "MW", "most net import that a partner asks for; infinite if none"
    ),
    "grid_import_target_price": VariableDefinition(
        "EUR MWh-1", "cost of net import above a partner's target"
    ),
    "day_ahead_position": VariableDefinition(
        "MW", "net import bought day-ahead; what is sold is negative"
    ),
    "position_held": VariableDefinition("1", "1 where a day-ahead position is held, else 0"),
    "imbalance_short_price": VariableDefinition(
        "EUR MWh-1", "paid for what is taken beyond the position"
    ),
    "imbalance_long_price": VariableDefinition("EUR MWh-1", "got for what is left of the position"),
    "intraday_price": VariableDefinition(
        "EUR MWh-1", "price of electricity intraday, between bid and ask"
    ),
    "intraday_power": VariableDefinition(
        "MW", "net import bought intraday; what is sold is negative"
    ),
    "matched_power": VariableDefinition(
        "MW", "contracted renewable power that reaches the grid elsewhere"
    ),
    "baseline_import_power": VariableDefinition(
        "MW", "import that counts as undisturbed for settlement"
    ),
    "baseline_export_power": VariableDefinition(
        "MW", "export that counts as undisturbed for settlement"
    ),
    "setpoint_import_power": VariableDefinition(
        "MW", "import that is kept once the plant has turned to it"
    ),
    "setpoint_export_power": VariableDefinition(
        "MW", "export that is kept once the plant has turned to it"
    ),
    "grid_import_band": VariableDefinition(
        "MW", "quantiles of the import that a schedule leads to"
    ),
    "grid_export_band": VariableDefinition(
        "MW", "quantiles of the export that a schedule leads to"
    ),
    "reserve_up_power": VariableDefinition(
        "MW", "power by which net import can be lowered: upward regulation"
    ),
    "reserve_down_power": VariableDefinition("MW", "power by which net import can be raised"),
    "reserve_duration": VariableDefinition("h", "how long a reserve can be kept"),
    "reserve_price": VariableDefinition(
        "EUR MW-1 h-1", "paid for a MW of a reserve product, held for an hour"
    ),
    "reserve_held": VariableDefinition("MW", "capacity of a reserve product that is sold already"),
    "reserve_called": VariableDefinition(
        "1", "share of what is sold that is called, or recovers from a call"
    ),
    "reserve_capacity": VariableDefinition("MW", "capacity of a reserve product that is held"),
    "reserve_shortfall": VariableDefinition(
        "MW", "capacity of a reserve product that is sold and not held"
    ),
    "reserve_used_up": VariableDefinition(
        "MW", "power of a reserve product that was called upwards"
    ),
    "reserve_used_down": VariableDefinition(
        "MW", "power of a reserve product that was called downwards"
    ),
    "reserve_excused": VariableDefinition(
        "MW", "capacity that is sold and called, or recovers from a call"
    ),
    "reserve_missed": VariableDefinition(
        "MW", "power of a reserve product that was called and not given"
    ),
    "battery_reserve": VariableDefinition(
        "MW", "part of a reserve product's capacity that a battery holds"
    ),
    "work_reserve": VariableDefinition(
        "MW", "part of a reserve product's capacity that work holds"
    ),
    "recovery_energy": VariableDefinition(
        "MWh", "energy taken up again after an upward reserve is used"
    ),
    "ramp_up_limit": VariableDefinition(
        "MW min-1", "fastest fall of net import left beside the plan"
    ),
    "ramp_down_limit": VariableDefinition(
        "MW min-1", "fastest rise of net import left beside the plan"
    ),
    "node_voltage": VariableDefinition("1", "voltage of a node of the network, share of nominal"),
    "branch_loading": VariableDefinition(
        "1", "load of the most loaded unit of a branch, share of its rating"
    ),
    "branch_loss": VariableDefinition("MW", "power that a branch of the network turns into heat"),
    "network_loss": VariableDefinition(
        "MW", "power that all branches of the network turn into heat"
    ),
    "connection_power": VariableDefinition("MW", "power taken from the grid by load flow"),
    "connection_reactive_power": VariableDefinition("Mvar", "reactive power taken from the grid"),
    "unserved_power": VariableDefinition("MW", "power of loads left without supply by an outage"),
    "renewable_available_power": VariableDefinition("MW", "power that sun or wind would give"),
    "renewable_used_power": VariableDefinition("MW", "power taken from sun, wind or a contract"),
    "renewable_available": VariableDefinition("1", "1 if the source may be planned on, else 0"),
    "renewable_status": VariableDefinition("1", "1 if the source operates, else 0"),
    "renewable_request": VariableDefinition(
        "MW", "most that the service wants taken from sun or wind"
    ),
    "renewable_applied": VariableDefinition("MW", "most that the plant takes from sun or wind"),
    "it_power": VariableDefinition("MW", "power at the outputs of the UPS"),
    "facility_power": VariableDefinition(
        "MW", "power of the whole site before its own generation and battery"
    ),
    "cooling_load": VariableDefinition("MW", "heat that a circuit has to carry away"),
    "cooling_power": VariableDefinition("MW", "electric power of all cooling"),
    "heat_reuse_power": VariableDefinition("MW", "heat handed over to a district-heat network"),
    "genset_power": VariableDefinition("MW", "power that gensets are told to give"),
    "water_use": VariableDefinition("m3 h-1", "water drawn for evaporation and blow-down"),
    # heat chain
    "facility_supply_temperature": VariableDefinition(
        "degC", "temperature of the water a circuit delivers"
    ),
    "facility_arriving_temperature": VariableDefinition(
        "degC", "temperature of a circuit's water at the halls"
    ),
    "facility_return_temperature": VariableDefinition(
        "degC", "temperature of the water that comes back"
    ),
    "facility_flow": VariableDefinition("kg s-1", "mass flow of a circuit"),
    "technology_supply_temperature": VariableDefinition(
        "degC", "temperature of the coolant at the racks"
    ),
    "technology_return_temperature": VariableDefinition(
        "degC", "temperature of the coolant behind the racks"
    ),
    "facility_supply_set_point": VariableDefinition(
        "degC", "temperature that a circuit's supply is held at"
    ),
    "facility_range_set_point": VariableDefinition(
        "K", "warming of a circuit's water that its flow follows"
    ),
    "technology_range_set_point": VariableDefinition(
        "K", "warming of the coolant that its flow follows"
    ),
    "technology_supply_set_point": VariableDefinition(
        "degC", "coolant temperature that a CDU aims at"
    ),
    "technology_supply_request": VariableDefinition(
        "degC", "coolant temperature that the service asks for"
    ),
    "facility_supply_request": VariableDefinition(
        "degC", "supply temperature that the service asks for"
    ),
    "facility_supply_applied": VariableDefinition(
        "degC", "supply temperature that the plant aims at"
    ),
    "facility_range_request": VariableDefinition(
        "K", "warming of a circuit's water that the service asks for"
    ),
    "facility_range_applied": VariableDefinition(
        "K", "warming of a circuit's water that the plant aims at"
    ),
    "technology_range_request": VariableDefinition(
        "K", "warming of the coolant that the service asks for"
    ),
    "technology_range_applied": VariableDefinition(
        "K", "warming of the coolant that the plant aims at"
    ),
    "facility_enabled": VariableDefinition(
        "1", "1 if a circuit follows what the service asks for, else 0"
    ),
    "rack_inlet_temperature": VariableDefinition("degC", "temperature of the air at the racks"),
    "chip_temperature": VariableDefinition("degC", "case temperature of the hottest accelerator"),
    "chip_power": VariableDefinition("MW", "power of one accelerator"),
    "rack_power": VariableDefinition("MW", "power of one rack, at its inlet"),
    "rack_supply_temperature": VariableDefinition(
        "degC", "temperature of the coolant into one rack"
    ),
    "rack_return_temperature": VariableDefinition(
        "degC", "temperature of the coolant out of one rack"
    ),
    "rack_flow": VariableDefinition("kg s-1", "mass flow of coolant through one rack"),
    # halls and work
    "accelerator_power": VariableDefinition(
        "MW", "power of a hall's accelerators, as they say themselves"
    ),
    "accelerator_utilisation": VariableDefinition("1", "mean utilisation of a hall's accelerators"),
    "cpu_share": VariableDefinition(
        "1", "where the CPUs of a chassis stand between idle, 0, and full, 1"
    ),
    "gpu_share": VariableDefinition(
        "1", "where its accelerators stand between idle, 0, and full, 1"
    ),
    "racks_heard": VariableDefinition("1", "share of a hall's racks whose accelerators are heard"),
    "hall_power": VariableDefinition("MW", "power of the racks of a hall, at their inlets"),
    "hall_power_cap": VariableDefinition("MW", "greatest power that a hall may draw"),
    "hall_work_done": VariableDefinition("MWh", "work done, as energy of uncapped racks"),
    "service_power": VariableDefinition("MW", "power of the inference service that must be served"),
    "work_racks": VariableDefinition("1", "racks that run a kind of work"),
    "work_power": VariableDefinition("MW", "power above idle of a kind of work"),
    "work_backlog": VariableDefinition(
        "MWh", "work arrived and not yet done, as energy of uncapped racks"
    ),
    "work_least": VariableDefinition("MWh", "work that must be done by an instant"),
    "work_most": VariableDefinition("MWh", "work that can be done by an instant"),
    "work_late": VariableDefinition(
        "MWh", "work that should have been done by an instant and is not"
    ),
    "work_racks_limit": VariableDefinition(
        "1", "most racks that the jobs of a kind of work can use"
    ),
    "work_racks_running": VariableDefinition(
        "1", "racks that run a kind of work when a horizon begins"
    ),
    "work_rest": VariableDefinition(
        "h", "time that racks of a kind of work have to run, uncapped, on average"
    ),
    "service_racks": VariableDefinition("1", "racks busy with the inference service"),
    # life of the connection
    "plant_heartbeat": VariableDefinition(
        "ms", "clock of the plant's management system, Unix time"
    ),
    "plant_heartbeat_echo": VariableDefinition(
        "ms", "our clock as the plant has heard it, Unix time"
    ),
    "service_heartbeat": VariableDefinition("ms", "clock of the service, Unix time"),
    "service_heartbeat_echo": VariableDefinition(
        "ms", "the plant's clock as the service heard it, Unix time"
    ),
    # sums and indicators
    "money": VariableDefinition("EUR", "what an account weighs in the objective over the interval"),
    "time_to_limit": VariableDefinition(
        "min", "time from a failure until the first limit is reached"
    ),
    "peak_power": VariableDefinition("MW", "greatest import of the billing period so far"),
    "usual_power": VariableDefinition("MW", "mean import of about the last week"),
    "pue": VariableDefinition("1", "power usage effectiveness, EN 50600-4-2"),
    "wue": VariableDefinition("m3 MWh-1", "water usage effectiveness, EN 50600-4-9"),
    "cue": VariableDefinition("kg MWh-1", "carbon usage effectiveness, EN 50600-4-8"),
    "erf": VariableDefinition("1", "energy reuse factor, EN 50600-4-6"),
    "ref": VariableDefinition("1", "renewable energy factor, EN 50600-4-3"),
    "closure": VariableDefinition("1", "greatest relative error of the energy balance of any node"),
}
"""Words of the site as a whole."""

EQUIPMENT_ROLES: Final[dict[str, VariableDefinition]] = {
    "draw": VariableDefinition("MW", "electric power drawn"),
    "output": VariableDefinition("MW", "power or cooling delivered"),
    "loss": VariableDefinition("MW", "power turned into heat inside"),
    "fuel": VariableDefinition("MW", "heating value of the fuel burnt"),
    "loading": VariableDefinition("1", "load as a share of the rating"),
    "limit": VariableDefinition("MW", "most that can be delivered"),
    "fan_power": VariableDefinition("MW", "electric power of the fans"),
    "pump_power": VariableDefinition("MW", "electric power of the pumps"),
    "compressor_power": VariableDefinition("MW", "electric power of the compressors"),
    "extrapolated": VariableDefinition(
        "1", "1 where the weather lies outside a correlation, held at its end"
    ),
    "free_share": VariableDefinition("1", "share of the load cooled without compressors"),
    "units_on": VariableDefinition("1", "number of machines that run"),
    "units_request": VariableDefinition("1", "number of machines that the service asks to run"),
    "units_applied": VariableDefinition(
        "1", "number of machines that the plant runs of those asked for"
    ),
    "flow": VariableDefinition("kg s-1", "mass flow"),
    "blow_down": VariableDefinition("m3 h-1", "water let out, so that solids do not concentrate"),
    "rejected_heat": VariableDefinition("MW", "heat given to the outdoor air"),
    "passed_heat": VariableDefinition("MW", "heat passed on to the facility water"),
    "kept_heat": VariableDefinition(
        "MW", "heat that warms what the machine holds; below 0 where it cools"
    ),
    "source_heat": VariableDefinition("MW", "heat taken from a circuit to be used"),
    "condenser_temperature": VariableDefinition(
        "degC", "temperature of the water leaving the condensers"
    ),
    "charge": VariableDefinition("MW", "power or cooling put into the store"),
    "discharge": VariableDefinition("MW", "power or cooling taken from the store"),
    "level": VariableDefinition("MWh", "energy or cooling kept in the store"),
    "available": VariableDefinition("1", "1 if the machine may be planned on, else 0"),
    "status": VariableDefinition("1", "1 if the machine operates, else 0"),
    "request": VariableDefinition(
        "MW", "power that the service asks for; to charge a store is positive"
    ),
    "applied": VariableDefinition("MW", "power that the plant sets; to charge a store is positive"),
}
"""Roles of equipment; the full name is ``<kind>_<role>``."""

EQUIPMENT_KIND_NAMES: Final = (
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
def variable_definition(name: str) -> VariableDefinition:
    """Return the declared term of a name.

    Parameters
    ----------
    name
        A word of the site, or ``<kind>_<role>``.

    Returns
    -------
    VariableDefinition
        Its unit and meaning.

    Raises
    ------
    UnitError
        If the name is not declared.
    """
    if name in SITE_VARIABLES:
        return SITE_VARIABLES[name]
    for kind in EQUIPMENT_KIND_NAMES:
        role = name.removeprefix(f"{kind}_")
        if role != name and role in EQUIPMENT_ROLES:
            return EQUIPMENT_ROLES[role]
    remedy = "use a name of twin/variables.py, or declare it there"
    raise UnitError("vocabulary", [ValidationIssue(location=name, found="", remedy=remedy)])


def variable_attributes(name: str) -> dict[str, str]:
    """Return what a variable of a declared name says of itself: its unit and meaning."""
    word = variable_definition(name)
    attrs = {"units": word.unit, "long_name": word.meaning}
    return attrs | ({"standard_name": word.standard_name} if word.standard_name else {})


def tag_variable(array: xr.DataArray, name: str) -> xr.DataArray:
    """Return the array under its declared name, with unit and meaning in its attributes."""
    return array.rename(name).assign_attrs(variable_attributes(name))


def tag_dataset(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with every variable tagged by its own name; see :func:`tag_variable`."""
    tagged = dataset.copy(deep=False)
    for name, array in tagged.data_vars.items():
        array.attrs.update(
            variable_attributes(str(name))
        )  # of the copy, which has attributes of its own
    return tagged


def check_variables(dataset: xr.Dataset, *names: str) -> xr.Dataset:
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
        issue = ValidationIssue(
            location="it", found=type(dataset).__name__, remedy="must be an xarray.Dataset"
        )
        raise UnitError("dataset", [issue])
    issues = []
    for name in names:
        unit = variable_definition(name).unit
        if name not in dataset:
            issues.append(
                ValidationIssue(location=name, found="", remedy="the variable is missing")
            )
        elif (told := dataset.variables[name].attrs.get("units")) != unit:
            shown = repr(told)
            issues.append(
                ValidationIssue(
                    location=name, found=shown, remedy=f'attrs["units"] must be "{unit}"'
                )
            )
    if issues:
        raise UnitError("dataset", issues)
    return dataset


_TIMES: Final = frozenset({"time", "instant"})

_NUMBERS: Final = "biuf"
"""Kinds of arrays that hold real numbers."""


def machine_values(data: xr.Dataset, name: str, owner: str) -> FloatArray:
    """Return what a variable says of one machine, on its other axes, in its own unit.

    Parameters
    ----------
    data
        Holds it, with an axis of labels beside ``time`` or ``instant``.
    name
        The variable.
    owner
        The label.

    Raises
    ------
    KeyError
        If variable or label are not there.
    """
    axis, place = _place(data, name, owner)
    return np.asarray(data.variables[name].to_numpy().take(place, axis), dtype=np.float64)


def set_machine_value(data: xr.Dataset, name: str, owner: str, *, value: float) -> None:
    """Set what a variable whose only axis is one of labels says of one machine, in its own unit.

    Raises
    ------
    KeyError
        If variable or label are not there.
    """
    _, place = _place(data, name, owner)
    data.variables[name].to_numpy()[place] = value


def values_by_machine(data: xr.Dataset, name: str) -> dict[str, float]:
    """Return a variable whose only axis is one of labels as its values by label.

    Raises
    ------
    KeyError
        If it is not there.
    """
    variable = data.variables[name]
    labels = data.variables[_labelled(variable)].to_index().tolist()
    return dict(zip(map(str, labels), map(float, variable.to_numpy().tolist()), strict=True))


def _place(data: xr.Dataset, name: str, owner: str) -> tuple[int, int]:
    """Return the axis of labels of a variable, and the place of a label on it."""
    variable = data.variables[name]
    dim = _labelled(variable)
    return variable.dims.index(dim), cast(int, data.variables[dim].to_index().get_loc(owner))


def _labelled(variable: xr.Variable) -> str:
    """Return the axis of labels."""
    return next(str(dim) for dim in variable.dims if dim not in _TIMES)


def net_import(data: xr.Dataset) -> xr.DataArray:
    """Return import less export of a state, a plan or a run, on its own axes. [MW]

    Parameters
    ----------
    data
        ``grid_import_power`` and ``grid_export_power`` [MW].
    """
    return data["grid_import_power"] - data["grid_export_power"]
