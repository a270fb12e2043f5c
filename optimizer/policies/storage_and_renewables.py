"""Storage, heat reuse and renewables in the rule-based policies."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr

from optimizer.realtime.workload_headroom import Headroom, max_export
from twin import variables
from twin.equipment import HeatReuse, Renewable
from twin.relations import Store
from twin.site import Site
from twin.variables import tag_variable
from twin.weather import Weather

PRICE_QUANTILE: Final = 0.25
"""Share of the day that counts as its cheapest, and as its most expensive, hours. [1]"""

PRICE_COMPARISON_PERIOD_H: Final = 24.0
"""Length of the day over which prices are compared. [h]"""

STORAGE_HOLDING_TIME_H: Final = 8.0
"""Typical time between charge and discharge, for the standing loss. [h]"""


def order_storage(
    outlook: xr.Dataset, state: xr.Dataset, *, site: Site, headroom: Headroom, spare: float
) -> tuple[dict[str, dict[str, float]], float]:
    """Order charging in the cheapest quarter of the day and discharging in the most expensive one.

    `outlook` holds ``electricity_price`` on equal intervals; `spare` is the power that the
    connection still has [MW].

    Returns
    -------
    tuple of dict and float
        Flow -> store -> power, such as ``battery_charge``; and the net charge of all batteries.
        [MW]
    """
    flows: dict[str, dict[str, float]] = {}
    net = 0.0
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        level = float(state[f"{kind}_level"].sel({kind: store.owner}))
        charge, discharge = _price_driven_power(
            store, outlook, level, level_margin=site.margins.level
        )
        if store.carrier == "chilled":
            charge = min(charge, headroom.spare_cooling)
            discharge = min(discharge, headroom.idle_chilled_load)
        else:
            charge = min(charge, max(spare - net, 0.0))
            discharge = min(discharge, max(headroom.site_power_without_work + net, 0.0))
            net += charge - discharge
        for direction, power in (("charge", charge), ("discharge", discharge)):
            if power > 0:
                flows.setdefault(f"{kind}_{direction}", {})[store.owner] = power
    return flows, net


def renewable_caps(
    outlook: xr.Dataset, site: Site, *, site_power: float, full_power: float | None = None
) -> dict[str, float]:
    """Return the cap of each renewable: what the site can use and should export. [MW]

    The export keeps the margin of the import, since load deviations are as large in either
    direction. Expected power is shared out first; the remainder is split equally, for more sun or
    wind than expected.

    - `outlook`: ``renewable_available_power`` and ``electricity_price`` of the coming interval.
    - `site_power`: power of the site until the interval ends, battery charging included. [MW]
    - `full_power`: the same at its start, before jobs end in it. If given, renewables are also
      curtailed where import earns money or export costs money. [MW]
    """
    if "renewable_available_power" not in outlook:
        return {}
    available = outlook["renewable_available_power"].isel(time=0).to_series()
    grid, usable = site.grid_connection, 1.0 - site.margins.power
    total = site_power + max_export(site)
    if full_power is not None:
        price = float(outlook["electricity_price"][0])
        if price + float(site.import_fees(outlook["time"].to_numpy()[:1])[0]) < 0:
            total = min(total, full_power - usable * grid.import_limit)
        elif price - grid.export_fee < 0:
            total = site_power
    return split_total_cap({str(k): float(v) for k, v in available.items()}, max(total, 0.0))


def split_total_cap(expected: Mapping[str, float], total: float) -> dict[str, float]:
    """Return caps that sum to `total`: expected power first, the remainder in equal parts. [MW]

    `expected` maps each renewable to its expected power [MW].
    """
    needed = sum(expected.values())
    share = min(total / needed, 1.0) if needed > 0 else 1.0
    spare = max(total - needed, 0.0) / max(len(expected), 1)
    return {name: share * power + spare for name, power in expected.items()}


def _price_driven_power(
    store: Store, outlook: xr.Dataset, level: float, *, level_margin: float
) -> tuple[float, float]:
    """Return the charge and discharge that prices suggest and the store allows. [MW]"""
    hours = float(outlook["duration"][0])
    price = outlook["electricity_price"].to_numpy()[: round(PRICE_COMPARISON_PERIOD_H / hours)]
    low, high = np.quantile(price, [PRICE_QUANTILE, 1.0 - PRICE_QUANTILE])
    retained = (1.0 - store.standing_loss) ** STORAGE_HOLDING_TIME_H
    efficiency = store.charge_efficiency * store.discharge_efficiency * retained
    if low / efficiency + store.wear_cost >= high:
        return 0.0, 0.0
    margin = store.level_margin(level_margin)
    if price[0] <= low:
        return float(store.max_charge(level, hours, kept=margin)), 0.0
    if price[0] >= high:
        return 0.0, float(store.max_discharge(level, hours, kept=margin))
    return 0.0, 0.0


def sell_heat(outlook: xr.Dataset, site: Site, *, follow_price: bool = False) -> xr.Dataset:
    """Return the outlook with ``heat_reuse_power`` [MW], if the site has a heat pump.

    With `follow_price`, no heat is sold where it earns less than its electricity costs. The pump's
    own controller stops at the heat that is available.
    """
    pumps = site.machines_of(HeatReuse)
    if not pumps:
        return outlook
    weather = Weather.from_dataset(outlook)
    sold = np.stack([pump.max_output(weather) for pump in pumps], axis=-1)
    if follow_price:
        fees = site.mean_import_fees(outlook["instant"].to_numpy())
        cost = outlook["electricity_price"].to_numpy() + fees
        air = weather.air_temperature
        drawn = [pump.power(heat, air) for pump, heat in zip(pumps, sold.T, strict=True)]
        income = np.array([pump.heat_price for pump in pumps]) * sold
        sold = np.where(cost[:, None] * np.stack(drawn, axis=-1) <= income, sold, 0.0)
    names = [pump.name for pump in pumps]
    flow = xr.DataArray(sold, dims=("time", "heat_reuse"), coords={"heat_reuse": names})
    return outlook.assign(heat_reuse_power=variables.tag_variable(flow, "heat_reuse_power"))


def use_renewables(operation: xr.Dataset, site: Site) -> xr.Dataset:
    """Return an operation with the renewable power that is available and used. [MW]

    `operation` holds the weather and ``hall_power(time, hall)``. Where renewables exceed halls and
    export, the same share of each is used. The results are on ``(time, renewable)``; without
    renewables nothing is added.
    """
    machines = site.machines_of(Renewable)
    if not machines:
        return operation
    located = operation.assign_attrs(latitude=site.latitude, longitude=site.longitude)
    rows = np.stack([machine.available_power(located) for machine in machines], axis=-1)
    names = [machine.name for machine in machines]
    power = xr.DataArray(rows, dims=("time", "renewable"), coords={"renewable": names})
    total, usable = power.sum("renewable"), operation["hall_power"].sum("hall") + max_export(site)
    used = power * (usable / total.where(total > usable)).fillna(1.0).clip(min=0.0)
    return operation.assign(
        renewable_available_power=tag_variable(power, "renewable_available_power"),
        renewable_used_power=tag_variable(used, "renewable_used_power"),
    )
