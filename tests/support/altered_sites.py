"""Declared sites with changed declarations, as an operator would change them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import sites
from sites.catalogue import find_site_file, read_toml
from sites.loading import build_site
from twin.site import Site

GONE = object()
"""In place of a value: the key is taken away."""

HEAT_PUMP = {
    "kind": "heat_reuse",
    "standard": "industrial_heat_pump",
    "rated_heat": "30 MW",
    "source_inlet_temperature": "42 degC",
    "source_outlet_temperature": "32 degC",
    "return_temperature": "47 degC",
    "supply_temperature": "80 degC",
    "contract_power": "30 MW",
    "base_share": 0.3,
    "heating_limit": "15 degC",
    "design_temperature": "-12 degC",
}


@dataclass(frozen=True, kw_only=True)
class Alteration:
    """What somebody might change in a site file.

    Attributes
    ----------
    name
        What it is called in messages.
    share
        Of how many sites it changes. [1]
    values
        Place in the file, keys joined by dots -> what may stand there instead, one of which is
        drawn; a function is given what stood there. Where the table around it is missing, nothing
        is changed.
    """

    name: str
    share: float
    values: dict[str, tuple[object, ...]]


def _budget(kind: str, price: str, *amounts: str) -> tuple[object, ...]:
    return tuple(
        {"kind": kind, "window": window, "amount": amount, "price": price}
        for window in ("horizon", "day")
        for amount in amounts
    )


def _tariff(name: str) -> dict[str, tuple[object, ...]]:
    table = read_toml(find_site_file("rhine").parent / "tariffs" / f"{name}.toml")["tariffs"]
    gone = {f"equipment.grid_1.{key}": (GONE,) for key in ("peak_price", "import_fee")}
    return {"tariffs": (table,), **gone}


ALTERATIONS = (
    Alteration(
        name="narrow connection",
        share=0.3,
        values={"equipment.grid_1.import_limit": ("150 MW", "160 MW", "170 MW", "180 MW")},
    ),
    Alteration(name="no export", share=0.3, values={"equipment.grid_1.export_limit": ("0 MW",)}),
    Alteration(
        name="ramp",
        share=0.3,
        values={"equipment.grid_1.ramp": ("3 MW/min", "6 MW/min", "40 MW/min")},
    ),
    *(
        Alteration(name=name, share=0.1, values=_tariff(name))
        for name in ("germany", "spain", "nordic")
    ),
    Alteration(
        name="committed chillers",
        share=0.3,
        values={
            "equipment.chilled_plant.chillers.minimum_up": ("1 h", "2 h", "4 h"),
            "equipment.chilled_plant.chillers.minimum_down": ("0.5 h", "2 h"),
            "equipment.chilled_plant.chillers.start_cost": ("50 EUR", "500 EUR"),
        },
    ),
    Alteration(
        name="no economiser",
        share=0.3,
        values={"equipment.chilled_plant.economiser_approach": (GONE,)},
    ),
    Alteration(
        name="less heat rejection",
        share=0.2,
        values={"equipment.warm_plant.rejection.count": (lambda count: round(0.75 * count),)},
    ),
    Alteration(
        name="carbon budget",
        share=0.3,
        values={"equipment.budget_1": _budget("carbon_budget", "0.3 EUR/kg", "1e8 kg", "3e8 kg")},
    ),
    Alteration(
        name="water budget",
        share=0.3,
        values={"equipment.budget_2": _budget("water_budget", "20 EUR/m3", "2e4 m3", "2e5 m3")},
    ),
    Alteration(
        name="hourly matching",
        share=0.2,
        values={
            "equipment.grid_1.carbon": ("matched",),
            "equipment.matching_1": tuple(
                {
                    "kind": "hourly_matching",
                    "band_power": power,
                    "residual_intensity": "600 kg/MWh",
                }
                for power in ("0 MW", "40 MW", "120 MW")
            ),
        },
    ),
    Alteration(
        name="set points",
        share=0.3,
        values={"set_points": ({"choice": "temperature"}, {"choice": "cheapest"})},
    ),
    Alteration(name="no battery", share=0.3, values={"equipment.battery_1": (GONE,)}),
    Alteration(
        name="small battery",
        share=0.3,
        values={
            "equipment.battery_1.capacity": ("4 MWh",),
            "equipment.battery_1.power": ("20 MW",),
        },
    ),
    Alteration(
        name="narrow window",
        share=0.25,
        values={"equipment.battery_1.reserve": (0.3,), "equipment.battery_1.ceiling": (0.8,)},
    ),
    Alteration(name="no tank", share=0.2, values={"equipment.tank_1": (GONE,)}),
    Alteration(
        name="heat",
        share=0.2,
        values={
            "equipment.heat_pump_1": tuple(
                HEAT_PUMP | {"heat_price": price} for price in ("10 EUR/MWh", "40 EUR/MWh")
            )
        },
    ),
    Alteration(
        name="work",
        share=0.3,
        values={
            "work.training.slack": (0.3, 2.0),
            "work.training.tolerance": (0.0, 0.3),
            "work.training.pause_loss": ("0 h", "1 h"),
            "work.training.minimum_run": ("0 h", "3 h"),
            "work.batch.slack": (0.2, 8.0),
            "work.batch.tolerance": (0.0, 0.5),
        },
    ),
    Alteration(name="service", share=0.4, values={"service.racks": (0, 600)}),
    Alteration(
        name="weights",
        share=0.2,
        values={
            "weights.carbon": ("0 EUR/kg", "0.5 EUR/kg"),
            "weights.water": ("0 EUR/m3", "30 EUR/m3"),
            "weights.lateness": ("20 EUR/MWh", "2000 EUR/MWh"),
        },
    ),
    Alteration(
        name="positions",
        share=0.25,
        values={
            "equipment.day_ahead_1": tuple(
                {"kind": "day_ahead", "intraday_limit": limit} for limit in ("0 MW", "20 MW")
            )
        },
    ),
)


def altered(seed: int) -> tuple[Site, list[str]]:
    """Return a declared site that is altered, and by what.

    Parameters
    ----------
    seed
        Of everything.

    Raises
    ------
    SiteError
        If what comes out is no sound site.
    """
    rng = np.random.default_rng([seed, 11])
    name = str(rng.choice([name for name in sites.site_names() if name != "small"]))
    table = copy.deepcopy(read_toml(find_site_file(name)))
    table.pop("network", None)  # its cables are laid for the connection as it is
    done = [one.name for one in ALTERATIONS if rng.random() < one.share and _alter(table, one, rng)]
    return build_site(table, name, source=f"{name}, altered by seed {seed}"), done


def _alter(table: dict[str, object], alteration: Alteration, rng: np.random.Generator) -> bool:
    """Alter the table in place; return whether anything was there to be altered."""
    done = False
    for place, values in alteration.values.items():
        *tables, key = place.split(".")
        around: object = table
        for inner in tables:
            around = around.get(inner) if isinstance(around, dict) else None
        value = values[int(rng.integers(len(values)))]
        if isinstance(around, dict) and not (value is GONE and key not in around):
            done = True
            if value is GONE:
                del around[key]
            elif isinstance(value, Callable):
                around[key] = value(around[key])
            else:
                around[key] = copy.deepcopy(value)
    return done
