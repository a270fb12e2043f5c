"""The table of names: unit and meaning of every variable that crosses a package boundary.

Names of equipment are ``<kind>_<role>``; names of the site are plain. Values of one machine are
read by position, because a lookup by label in xarray takes ten times as long.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final, cast

import numpy as np
import xarray as xr

from twin.errors import IssueCode, UnitError
from twin.physics import FloatArray


@dataclass(frozen=True)
class VariableDefinition:
    """Canonical unit, meaning and CF standard name, if there is one."""

    unit: str
    meaning: str
    standard_name: str = ""


SITE_VARIABLES: Final[dict[str, VariableDefinition]] = {
    # outside world
    "electricity_price": VariableDefinition("EUR MWh-1", "day-ahead price of electricity"),
    "terminal_price": VariableDefinition("EUR MWh-1", "expected cost of a MWh after the horizon"),
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
    "grid_import_power": VariableDefinition("MW", "power imported from the grid at the connection"),
    "grid_export_power": VariableDefinition("MW", "power exported to the grid at the connection"),
    "grid_import_limit": VariableDefinition("MW", "maximum power imported from the grid"),
    "grid_import_target": VariableDefinition(
        "MW", "maximum net import requested by a partner; infinite if none"
    ),
    "grid_import_limit_requested": VariableDefinition(
        "MW", "grid_import_limit without the earlier turn that it needs"
    ),
    "grid_import_target_requested": VariableDefinition(
        "MW", "grid_import_target without the earlier turn that it needs"
    ),
    "grid_import_target_price": VariableDefinition(
        "EUR MWh-1", "cost of net import above a partner's target"
    ),
    "day_ahead_position": VariableDefinition(
        "MW", "net import bought day-ahead; sales are negative"
    ),
    "position_held": VariableDefinition("1", "1 where a day-ahead position is held, else 0"),
    "imbalance_short_price": VariableDefinition(
        "EUR MWh-1", "price paid for import above the position"
    ),
    "imbalance_long_price": VariableDefinition(
        "EUR MWh-1", "price received for import below the position"
    ),
    "intraday_price": VariableDefinition(
        "EUR MWh-1", "price of electricity intraday, between bid and ask"
    ),
    "intraday_power": VariableDefinition("MW", "net import bought intraday; sales are negative"),
    "matched_power": VariableDefinition(
        "MW", "contracted renewable power fed into the grid elsewhere"
    ),
    "baseline_import_power": VariableDefinition(
        "MW", "import that counts as undisturbed for settlement"
    ),
    "baseline_export_power": VariableDefinition(
        "MW", "export that counts as undisturbed for settlement"
    ),
    "setpoint_import_power": VariableDefinition(
        "MW", "import after the plant has reached its set point"
    ),
    "setpoint_export_power": VariableDefinition(
        "MW", "export after the plant has reached its set point"
    ),
    "grid_import_band": VariableDefinition("MW", "quantiles of the import of a schedule"),
    "grid_export_band": VariableDefinition("MW", "quantiles of the export of a schedule"),
    "reserve_up_power": VariableDefinition(
        "MW", "power by which net import can be lowered: upward regulation"
    ),
    "reserve_down_power": VariableDefinition("MW", "power by which net import can be raised"),
    "reserve_duration": VariableDefinition("h", "time for which a reserve can be delivered"),
    "reserve_price": VariableDefinition(
        "EUR MW-1 h-1", "price of a MW of a reserve product for an hour"
    ),
    "reserve_held": VariableDefinition("MW", "capacity of a reserve product already sold"),
    "reserve_called": VariableDefinition(
        "1", "share of sold capacity that is activated or recovers"
    ),
    "reserve_capacity": VariableDefinition("MW", "available capacity of a reserve product"),
    "reserve_shortfall": VariableDefinition(
        "MW", "sold but unavailable capacity of a reserve product"
    ),
    "reserve_used_up": VariableDefinition("MW", "upward activated power of a reserve product"),
    "reserve_used_down": VariableDefinition("MW", "downward activated power of a reserve product"),
    "reserve_excused": VariableDefinition("MW", "sold capacity that is activated or recovers"),
    "reserve_missed": VariableDefinition(
        "MW", "activated but undelivered power of a reserve product"
    ),
    "battery_reserve": VariableDefinition(
        "MW", "part of a reserve product's capacity from a battery"
    ),
    "work_reserve": VariableDefinition(
        "MW", "part of a reserve product's capacity from movable work"
    ),
    "recovery_energy": VariableDefinition(
        "MWh", "energy recovered after an upward reserve is used"
    ),
    "ramp_up_limit": VariableDefinition(
        "MW min-1", "fastest fall of net import remaining beside the plan"
    ),
    "ramp_down_limit": VariableDefinition(
        "MW min-1", "fastest rise of net import remaining beside the plan"
    ),
    "node_voltage": VariableDefinition("1", "voltage of a node of the network, share of nominal"),
    "branch_loading": VariableDefinition(
        "1", "load of the most loaded unit of a branch, share of its rating"
    ),
    "branch_loss": VariableDefinition("MW", "loss of a branch of the network"),
    "network_loss": VariableDefinition("MW", "loss of all branches of the network"),
    "connection_power": VariableDefinition("MW", "power imported from the grid by load flow"),
    "connection_reactive_power": VariableDefinition(
        "Mvar", "reactive power imported from the grid"
    ),
    "unserved_power": VariableDefinition("MW", "power of loads without supply in an outage"),
    "renewable_available_power": VariableDefinition("MW", "available power of sun or wind"),
    "renewable_used_power": VariableDefinition("MW", "power used from sun, wind or a contract"),
    "renewable_available": VariableDefinition("1", "1 if the source may be planned on, else 0"),
    "renewable_status": VariableDefinition("1", "1 if the source operates, else 0"),
    "renewable_request": VariableDefinition(
        "MW", "limit of sun or wind power requested by the service"
    ),
    "renewable_applied": VariableDefinition(
        "MW", "limit of sun or wind power applied by the plant"
    ),
    "it_power": VariableDefinition("MW", "power at the outputs of the UPS"),
    "facility_power": VariableDefinition(
        "MW", "power of the whole site before its own generation and battery"
    ),
    "cooling_load": VariableDefinition("MW", "heat that a circuit must remove"),
    "cooling_power": VariableDefinition("MW", "electric power of all cooling"),
    "heat_reuse_power": VariableDefinition("MW", "heat delivered to a district-heat network"),
    "genset_power": VariableDefinition("MW", "commanded power of gensets"),
    "water_use": VariableDefinition("m3 h-1", "water use for evaporation and blow-down"),
    # heat chain
    "facility_supply_temperature": VariableDefinition("degC", "supply temperature of a circuit"),
    "facility_arriving_temperature": VariableDefinition(
        "degC", "temperature of a circuit's water at the halls"
    ),
    "facility_return_temperature": VariableDefinition("degC", "return temperature of a circuit"),
    "facility_flow": VariableDefinition("kg s-1", "mass flow of a circuit"),
    "technology_supply_temperature": VariableDefinition(
        "degC", "temperature of the coolant at the racks"
    ),
    "technology_return_temperature": VariableDefinition(
        "degC", "return temperature of the coolant"
    ),
    "facility_supply_set_point": VariableDefinition(
        "degC", "set point of a circuit's supply temperature"
    ),
    "facility_range_set_point": VariableDefinition(
        "K", "set point of a circuit's temperature range"
    ),
    "technology_range_set_point": VariableDefinition(
        "K", "set point of the coolant's temperature range"
    ),
    "technology_supply_set_point": VariableDefinition(
        "degC", "set point of a CDU's coolant supply temperature"
    ),
    "technology_supply_request": VariableDefinition(
        "degC", "coolant temperature requested by the service"
    ),
    "facility_supply_request": VariableDefinition(
        "degC", "supply temperature requested by the service"
    ),
    "facility_supply_applied": VariableDefinition(
        "degC", "supply temperature set point applied by the plant"
    ),
    "facility_range_request": VariableDefinition(
        "K", "temperature range of a circuit requested by the service"
    ),
    "facility_range_applied": VariableDefinition(
        "K", "temperature range of a circuit applied by the plant"
    ),
    "technology_range_request": VariableDefinition(
        "K", "coolant temperature range requested by the service"
    ),
    "technology_range_applied": VariableDefinition(
        "K", "coolant temperature range applied by the plant"
    ),
    "facility_enabled": VariableDefinition(
        "1", "1 if a circuit follows the service's requests, else 0"
    ),
    "rack_inlet_temperature": VariableDefinition("degC", "temperature of the air at the racks"),
    "chip_temperature": VariableDefinition(
        "degC",
        "case temperature of accelerators: simulated at their mean load, measured the highest",
    ),
    "full_load_chip_temperature": VariableDefinition(
        "degC", "case temperature of an accelerator in a rack at full load"
    ),
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
        "MW", "power of a hall's accelerators, as they report it"
    ),
    "accelerator_utilisation": VariableDefinition("1", "mean utilisation of a hall's accelerators"),
    "racks_heard": VariableDefinition("1", "share of a hall's racks whose accelerators report"),
    "hall_power": VariableDefinition("MW", "power of the racks of a hall, at their inlets"),
    "hall_power_cap": VariableDefinition("MW", "maximum power of a hall"),
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
        "1", "maximum racks that the jobs of a kind of work can use"
    ),
    "work_racks_running": VariableDefinition(
        "1", "racks that run a kind of work at the start of a horizon"
    ),
    "work_rest": VariableDefinition("h", "mean remaining uncapped running time of a kind of work"),
    "service_racks": VariableDefinition("1", "racks busy with the inference service"),
    # heartbeats of the connection
    "plant_heartbeat": VariableDefinition(
        "ms", "clock of the plant's management system, Unix time"
    ),
    "plant_heartbeat_echo": VariableDefinition(
        "ms", "the service's clock as received by the plant, Unix time"
    ),
    "service_heartbeat": VariableDefinition("ms", "clock of the service, Unix time"),
    "service_heartbeat_echo": VariableDefinition(
        "ms", "the plant's clock as received by the service, Unix time"
    ),
    # sums and indicators
    "money": VariableDefinition(
        "EUR", "contribution of an account to the objective in the interval"
    ),
    "time_to_limit": VariableDefinition(
        "min", "time from a failure until the first limit is reached"
    ),
    "peak_power": VariableDefinition("MW", "greatest import of the billing period so far"),
    "usual_power": VariableDefinition("MW", "mean import of about the last week"),
    "pue": VariableDefinition("1", "PUE1: power usage effectiveness at the outputs of the UPS"),
    "pue2": VariableDefinition("1", "PUE2: power usage effectiveness at the outputs of the PDUs"),
    "pue3": VariableDefinition("1", "PUE3: power usage effectiveness at the inlets of the racks"),
    "wue": VariableDefinition("m3 MWh-1", "water usage effectiveness, EN 50600-4-9"),
    "cue": VariableDefinition("kg MWh-1", "carbon usage effectiveness, EN 50600-4-8"),
    "erf": VariableDefinition("1", "energy reuse factor, EN 50600-4-6"),
    "ref": VariableDefinition("1", "renewable energy factor, EN 50600-4-3"),
    "closure": VariableDefinition("1", "greatest relative error of the energy balance of any node"),
}
"""Variables of the site as a whole."""

EQUIPMENT_ROLES: Final[dict[str, VariableDefinition]] = {
    "draw": VariableDefinition("MW", "electric power drawn"),
    "output": VariableDefinition("MW", "power or cooling delivered"),
    "loss": VariableDefinition("MW", "power turned into heat inside"),
    "fuel": VariableDefinition("MW", "heating value of the fuel burnt"),
    "loading": VariableDefinition("1", "load as a share of the rating"),
    "limit": VariableDefinition("MW", "maximum output"),
    "fan_power": VariableDefinition("MW", "electric power of the fans"),
    "pump_power": VariableDefinition("MW", "electric power of the pumps"),
    "compressor_power": VariableDefinition("MW", "electric power of the compressors"),
    "extrapolated": VariableDefinition(
        "1", "1 where a correlation is evaluated at the bound of its range"
    ),
    "free_share": VariableDefinition("1", "share of the load cooled without compressors"),
    "units_on": VariableDefinition("1", "number of running machines"),
    "units_request": VariableDefinition("1", "number of running machines requested by the service"),
    "units_applied": VariableDefinition("1", "number of requested machines that the plant runs"),
    "flow": VariableDefinition("kg s-1", "mass flow"),
    "blow_down": VariableDefinition("m3 h-1", "water discharged to limit dissolved solids"),
    "rejected_heat": VariableDefinition("MW", "heat rejected to outdoor air"),
    "passed_heat": VariableDefinition("MW", "heat transferred to the facility water"),
    "kept_heat": VariableDefinition(
        "MW", "heat stored in the machine; negative when it cools down"
    ),
    "source_heat": VariableDefinition("MW", "heat of a circuit that is reused"),
    "condenser_temperature": VariableDefinition(
        "degC", "temperature of the water leaving the condensers"
    ),
    "charge": VariableDefinition("MW", "power or cooling put into the store"),
    "discharge": VariableDefinition("MW", "power or cooling taken from the store"),
    "level": VariableDefinition("MWh", "energy or cooling in the store"),
    "available": VariableDefinition("1", "1 if the machine may be planned on, else 0"),
    "status": VariableDefinition("1", "1 if the machine operates, else 0"),
    "request": VariableDefinition("MW", "power requested by the service; charging is positive"),
    "applied": VariableDefinition("MW", "power applied by the plant; charging is positive"),
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
"""Kinds of equipment that may precede a role."""


@cache
def variable_definition(name: str) -> VariableDefinition:
    """Return the definition of a declared variable."""
    if name in SITE_VARIABLES:
        return SITE_VARIABLES[name]
    for kind in EQUIPMENT_KIND_NAMES:
        role = name.removeprefix(f"{kind}_")
        if role != name and role in EQUIPMENT_ROLES:
            return EQUIPMENT_ROLES[role]
    issue = IssueCode.UNKNOWN_NAME.issue(
        name,
        expected="a name of twin/variables.py",
        remedy="use a declared name, or declare this one there",
    )
    raise UnitError("variables", [issue])


def variable_attributes(name: str) -> dict[str, str]:
    """Return the attributes of a declared variable: unit, meaning and standard name."""
    definition = variable_definition(name)
    attrs = {"units": definition.unit, "long_name": definition.meaning}
    standard_name = definition.standard_name
    return attrs | ({"standard_name": standard_name} if standard_name else {})


def tag_variable(array: xr.DataArray, name: str) -> xr.DataArray:
    """Return the array under a declared name, with unit and meaning as attributes."""
    return array.rename(name).assign_attrs(variable_attributes(name))


def tag_dataset(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with attributes on every variable; see :func:`tag_variable`."""
    tagged = dataset.copy(deep=False)
    for name, array in tagged.data_vars.items():
        array.attrs.update(variable_attributes(str(name)))  # the copy has its own attributes
    return tagged


def check_variables(dataset: xr.Dataset, *names: str) -> xr.Dataset:
    """Return the dataset; raise a UnitError unless it has the variables in canonical units."""
    if not isinstance(dataset, xr.Dataset):
        raise UnitError.single(
            "dataset",
            IssueCode.WRONG_TYPE,
            "argument",
            found=type(dataset).__name__,
            expected="an xarray.Dataset",
            remedy="pass a dataset",
        )
    issues = []
    for name in names:
        unit = variable_definition(name).unit
        if name not in dataset:
            issues.append(
                IssueCode.MISSING.issue(
                    name, expected=f"a variable in {unit}", remedy="add the variable"
                )
            )
        elif (units := dataset.variables[name].attrs.get("units")) != unit:
            issues.append(
                IssueCode.WRONG_UNIT.issue(
                    name,
                    found=repr(units),
                    expected=f'the unit "{unit}"',
                    remedy=f'convert the variable and set attrs["units"] = "{unit}"',
                )
            )
    UnitError.raise_if_any("dataset", issues)
    return dataset


LEADING_AXES: Final = ("site", "scenario", "sample")
"""Axes of an ensemble, in this order before all others: :func:`twin.simulate` broadcasts them."""

_UNLABELLED_AXES: Final = frozenset({*LEADING_AXES, "time", "instant"})

NUMERIC_KINDS: Final = "biuf"
"""Kinds of numpy types with real numbers."""


def machine_values(data: xr.Dataset, name: str, owner: str) -> FloatArray:
    """Return the values of one machine in a variable with labels, on its other axes."""
    axis, position = _label_position(data, name, owner)
    return np.asarray(data.variables[name].to_numpy().take(position, axis), dtype=np.float64)


def set_machine_value(data: xr.Dataset, name: str, owner: str, *, value: float) -> None:
    """Set the value of one machine in a variable whose only axis has labels."""
    _, position = _label_position(data, name, owner)
    data.variables[name].to_numpy()[position] = value


def values_by_machine(data: xr.Dataset, name: str) -> dict[str, float]:
    """Return the values of a variable whose only axis has labels, by label."""
    values = data.variables[name].to_numpy().tolist()
    return dict(zip(machine_labels(data, name), map(float, values), strict=True))


def machine_labels(data: xr.Dataset, name: str) -> list[str]:
    """Return the labels of a variable with labels: its machines."""
    return [*map(str, data.variables[_label_axis(data.variables[name])].to_index())]


def _label_position(data: xr.Dataset, name: str, owner: str) -> tuple[int, int]:
    """Return the label axis of a variable, and the position of a label on it."""
    variable = data.variables[name]
    dim = _label_axis(variable)
    return variable.dims.index(dim), cast(int, data.variables[dim].to_index().get_loc(owner))


def _label_axis(variable: xr.Variable) -> str:
    """Return the name of the axis with labels."""
    return next(str(dim) for dim in variable.dims if dim not in _UNLABELLED_AXES)


def net_import(data: xr.Dataset) -> xr.DataArray:
    """Return grid import less export of a state, plan or run, on its own axes. [MW]"""
    return data["grid_import_power"] - data["grid_export_power"]
