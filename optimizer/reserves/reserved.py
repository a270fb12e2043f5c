"""What a plan holds in reserve: the words of a schedule, and what is to be said of them."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import xarray as xr

from optimizer.reserves import capacity
from optimizer.reserves.capacity import LEAST, column
from optimizer.solution import Solution
from twin import variables
from twin.equipment import Battery
from twin.markets.reserve_products import ReserveProduct, starts_block
from twin.physics import FloatArray
from twin.units import format_minute

SOON: Final = np.timedelta64(24, "h")
"""How long what is offered is told block by block; what comes after is planned anew before its gate
closes."""


def add_reserves(data: xr.Dataset, solution: Solution) -> xr.Dataset:
    """Return a schedule with what it holds of each product, and who holds it.

    Parameters
    ----------
    data
        The schedule so far, with its axes of batteries and cohorts.
    solution
        What the optimiser answered.

    Returns
    -------
    xarray.Dataset
        With ``reserve_capacity``, ``reserve_shortfall``, ``reserve_held``, ``reserve_price`` and
        ``reserve_excused`` on ``time`` and ``product``, and the parts of the holders,
        ``battery_reserve`` and, where work may hold any, ``work_reserve`` with ``work_least``, by
        which it is judged. Of a site without products the schedule as it was.
    """
    problem = solution.inputs.problem
    site, outlook = problem.site, problem.outlook
    if not site.reserves:
        return data
    products = list(site.reserves.values())
    batteries = [battery.name for battery in site.of(Battery)]
    sold, held = (
        np.stack([of(outlook, product) for product in products], axis=-1)
        for of in (capacity.sold, capacity.held)
    )
    short = np.stack([_column(solution, p, "shortfall") for p in products], axis=-1)
    short = np.where(short > LEAST, np.minimum(short, held), 0.0)
    offered = np.stack([p.bid(_column(solution, p, "offered")) for p in products], axis=-1)
    told = held - short + offered
    stored = np.stack([_stored(solution, p, batteries) for p in products], axis=1)
    worked = np.stack([_worked(solution, p) for p in products], axis=1)
    whole = stored.sum(axis=-1) + worked.sum(axis=-1)
    share = np.clip(told / np.maximum(whole, LEAST), 0.0, 1.0)[:, :, None]
    price = np.stack([capacity.price(outlook, product) for product in products], axis=-1)
    by_product = {
        "reserve_capacity": told,
        "reserve_shortfall": short,
        "reserve_held": held,
        "reserve_price": price,
        "reserve_excused": sold - held,
    }
    found = data.assign_coords(product=[product.name for product in products])
    found = found.assign({name: (("time", "product"), row) for name, row in by_product.items()})
    found["battery_reserve"] = ("time", "product", "battery"), stored * share
    if any(capacity.load(site, product) for product in products):
        found["work_reserve"] = ("time", "product", "cohort"), worked * share
        found["work_least"] = outlook["work_least"]
    return variables.tag_dataset(found)


def _column(solution: Solution, product: ReserveProduct, name: str) -> FloatArray:
    return np.maximum(solution.values[f"{product.name}_reserve.{name}"], 0.0)


def _stored(solution: Solution, product: ReserveProduct, batteries: Sequence[str]) -> FloatArray:
    """Return what batteries hold of a product, ``(time, battery)``. [MW]"""
    rows = np.zeros((len(solution.inputs.hours), len(batteries)))
    for place, owner in enumerate(batteries):
        rows[:, place] = _window(solution, f"{owner}.{column(product.name)}", rows[:, place])
    return rows


def _worked(solution: Solution, product: ReserveProduct) -> FloatArray:
    """Return what work holds of a product, ``(time, cohort)``. [MW]"""
    cohorts = solution.inputs.problem.outlook.sizes["cohort"]
    nothing = np.zeros((len(solution.inputs.hours), cohorts))
    return _window(solution, f"work.{column(product.name)}", nothing)


def _window(solution: Solution, name: str, nothing: FloatArray) -> FloatArray:
    """Return the values of the window; what was held before it stands in front of them."""
    return np.maximum(solution.values.get(name, nothing)[-len(nothing) :], 0.0)


def told(solution: Solution, schedule: xr.Dataset) -> tuple[str, ...]:
    """Return what is held in words: capacity, its price, and what the last MW costs elsewhere.

    Parameters
    ----------
    solution
        What the optimiser answered.
    schedule
        The schedule made of it.
    """
    products = solution.inputs.problem.site.reserves.values()
    return tuple(line for product in products for line in _lines(solution, schedule, product))


def _lines(solution: Solution, schedule: xr.Dataset, product: ReserveProduct) -> Iterator[str]:
    part = schedule.sel(product=product.name)
    words = ("capacity", "shortfall", "held", "price", "excused")
    held, short, sold, price, called = (part[f"reserve_{word}"].to_numpy() for word in words)
    edges, hours = schedule["instant"].to_numpy(), schedule["duration"].to_numpy()
    costs = _marginal(solution, product)
    changes = np.any(np.abs(np.diff([held, short, sold, price, called], axis=1)) > LEAST, axis=0)
    starts = np.flatnonzero(np.concatenate([[True], starts_block(product, edges)[1:-1] | changes]))
    later: list[float] = []
    first = edges[-1]
    for begin, end in zip(starts, [*starts[1:], len(held)], strict=True):
        span = slice(begin, end)
        time = f"{format_minute(edges[begin])} to {format_minute(edges[end])}"
        is_sold = sold[begin] > LEAST
        if called[begin] > LEAST:
            yield f"{product.name}: {called[begin]:.4g} MW called, or recovering, from {time}"
        if held[begin] > LEAST:
            first = first if is_sold else min(first, edges[begin])
            if not is_sold and edges[begin] - first >= SOON:
                later.append(held[begin])
                continue
            cost = float(costs[span].sum() / hours[span].sum())
            what = "sold and held" if is_sold else "offered"
            yield (
                f"{product.name}: {held[begin]:.4g} MW {what} from {time} at {price[begin]:.2f} "
                f"EUR/MW/h; the last MW costs {cost:.2f} elsewhere"
            )
        if short[begin] > LEAST:
            yield f"{product.name}: {short[begin]:.4g} MW sold and NOT held from {time}"
    if later:
        most, least = max(later), min(later)
        yield f"{product.name}: {least:.4g} to {most:.4g} MW in {len(later)} blocks after that"


def _marginal(solution: Solution, product: ReserveProduct) -> FloatArray:
    """Return what one more MW of a product costs in each interval, ``(time,)``. [EUR MW-1]

    Who holds it keeps power and energy for it; the connection, and what feeds the bus, keep room.
    """
    rows = [f"{product.name}_reserve.covered_{way}" for way in ("up", "down")]
    found = [solution.duals[row] for row in rows if row in solution.duals]
    for row, prices in solution.duals.items():
        if row.startswith("reserves."):
            is_up = row.endswith(("export_room", "_room_back"))
            found.append(-prices * (product.power_up if is_up else product.power_down))
    return np.asarray(np.sum(found, axis=0))
