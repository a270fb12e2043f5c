"""What a simple rule does with stores and renewables: buy cheap, sell dear, waste nothing.

What who plans nothing does with heat: sell all that the network takes.

What who plans nothing does with sun and wind: use all that the site and its export take.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr

from optimizer.realtime.headroom import Headroom, max_export
from twin import variables
from twin.equipment import HeatReuse, Renewable
from twin.relations import Store
from twin.site import Site
from twin.variables import tag_variable
from twin.weather import Weather

PRICE_QUANTILE: Final = 0.25
"""Share of the day that counts as its cheapest and as its dearest hours. [1]"""

STORAGE_DAY_H: Final = 24.0
"""How far ahead "the day" reaches, if prices are known so far. [h]"""

HOLDING_TIME_H: Final = 8.0
"""Hours that a store keeps what it took, to judge its standing loss. [h]"""


def order_storage(
    outlook: xr.Dataset, state: xr.Dataset, *, site: Site, headroom: Headroom, spare: float
) -> tuple[dict[str, dict[str, float]], float]:
    """Return what the stores do: fill in the cheapest quarter of the day, empty in the dearest.

    Parameters
    ----------
    outlook
        ``electricity_price`` on equal intervals.
    state
        Levels of the stores.
    site
        The site.
    headroom
        What the circuits can take and give.
    spare
        Power that the connection still has. [MW]

    Returns
    -------
    tuple of dict and float
        Flow -> store -> power, such as ``battery_charge``; and the net charge of all stores of
        electricity. [MW]
    """
    flows: dict[str, dict[str, float]] = {}
    net = 0.0
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        level = float(state[f"{kind}_level"].sel({kind: store.owner}))
        charge, discharge = _wanted_power(store, outlook, level, keep=site.margins.level)
        if store.carrier == "chilled":
            charge = min(charge, headroom.spare_cooling)
            discharge = min(discharge, headroom.chilled_load)
        else:
            charge = min(charge, max(spare - net, 0.0))
            discharge = min(discharge, max(headroom.base_power + net, 0.0))
            net += charge - discharge
        for direction, power in (("charge", charge), ("discharge", discharge)):
            if power > 0:
                flows.setdefault(f"{kind}_{direction}", {})[store.owner] = power
    return flows, net


def renewable_caps(
    outlook: xr.Dataset, site: Site, *, site_power: float, full_power: float | None = None
) -> dict[str, float]:
    """Return the caps of the renewables: what the site can use and should give away.

    Parameters
    ----------
    outlook
        ``renewable_available_power`` and ``electricity_price`` of the coming interval.
    site
        The site.
    site_power
        Power of the whole site until the interval ends, charging of batteries included. [MW]
    full_power
        The same at its start, when jobs still run that end in it: with it is curtailed also where
        taking power from the grid is paid for, or giving it costs. [MW]

    Returns
    -------
    dict
        Renewable -> most that it may give. [MW]

    Notes
    -----
    The export keeps the margin of the import: where a battery gives, what the site draws itself is
    small beside what may surprise it. What is expected of sun and wind is shared out first; the
    rest, equally, is for more of them than was expected.
    """
    if "renewable_available_power" not in outlook:
        return {}
    available = outlook["renewable_available_power"].isel(time=0).to_series()
    grid, keep = site.grid, 1.0 - site.margins.power
    most = site_power + max_export(site)
    if full_power is not None:
        price = float(outlook["electricity_price"][0])
        if price + float(site.import_fees(outlook["time"].to_numpy()[:1])[0]) < 0:
            most = min(most, full_power - keep * grid.import_limit)
        elif price - grid.export_fee < 0:
            most = site_power
    return share_caps({str(k): float(v) for k, v in available.items()}, max(most, 0.0))


def share_caps(expected: Mapping[str, float], most: float) -> dict[str, float]:
    """Return caps that sum to a total: what is expected first, the rest in equal parts.

    Parameters
    ----------
    expected
        Renewable -> power expected of it. [MW]
    most
        Most that all may give together. [MW]
    """
    total = sum(expected.values())
    share = min(most / total, 1.0) if total > 0 else 1.0
    rest = max(most - total, 0.0) / max(len(expected), 1)
    return {name: share * power + rest for name, power in expected.items()}


def _wanted_power(
    store: Store, outlook: xr.Dataset, level: float, *, keep: float
) -> tuple[float, float]:
    """Return the charge and discharge that prices call for and the store allows. [MW]"""
    hours = float(outlook["duration"][0])
    price = outlook["electricity_price"].to_numpy()[: round(STORAGE_DAY_H / hours)]
    low, high = np.quantile(price, [PRICE_QUANTILE, 1.0 - PRICE_QUANTILE])
    kept = (1.0 - store.standing_loss) ** HOLDING_TIME_H
    efficiency = store.charge_efficiency * store.discharge_efficiency * kept
    if low / efficiency + store.wear_cost >= high:
        return 0.0, 0.0
    margin = store.level_margin(keep)
    room = (store.max_level - margin - level) / store.charge_efficiency / hours
    stock = (level - store.min_level - margin) * store.discharge_efficiency / hours
    if price[0] <= low:
        return max(min(store.charge_limit, room), 0.0), 0.0
    if price[0] >= high:
        return 0.0, max(min(store.discharge_limit, stock), 0.0)
    return 0.0, 0.0


def sell_heat(outlook: xr.Dataset, site: Site, *, follow_price: bool = False) -> xr.Dataset:
    """Return what is known with the heat that is sold.

    Parameters
    ----------
    outlook
        The weather and, if prices are followed, ``electricity_price``.
    site
        The site.
    follow_price
        Whether to stop where the heat brings less than the electricity that lifts it costs.

    Returns
    -------
    xarray.Dataset
        With ``heat_reuse_power`` [MW], if the site has a heat pump; the pump's own controller stops
        at the heat that is there.
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
    """Return an operation in which sun and wind are used.

    Parameters
    ----------
    operation
        The weather and ``hall_power(time, hall)``.
    site
        The site.

    Returns
    -------
    xarray.Dataset
        With ``renewable_available_power`` and ``renewable_used_power(time, renewable)`` [MW], if
        the site has any: the same share of each where all would be more than halls and export take.
    """
    machines = site.machines_of(Renewable)
    if not machines:
        return operation
    here = operation.assign_attrs(latitude=site.latitude, longitude=site.longitude)
    rows = np.stack([machine.available_power(here) for machine in machines], axis=-1)
    names = [machine.name for machine in machines]
    power = xr.DataArray(rows, dims=("time", "renewable"), coords={"renewable": names})
    total, most = power.sum("renewable"), operation["hall_power"].sum("hall") + max_export(site)
    used = power * (most / total.where(total > most)).fillna(1.0).clip(min=0.0)
    return operation.assign(
        renewable_available_power=tag_variable(power, "renewable_available_power"),
        renewable_used_power=tag_variable(used, "renewable_used_power"),
    )
