"""Settlement of a run: money by account, carbon, water, work and lateness.

Every policy gets the same bill, from the plant's record and the true prices. Stores that end fuller
or emptier than they began, and work left at the end, are valued at the mean price and carbon
intensity of the run, so that no policy gains by emptying stores or deferring work. Work left is
assumed to run at the cap that its kind tolerates.

Network accounts are energy, fees, peaks and excess power at the connection. Contracts settle sums
of flows against their targets. Reserves settle capacity held, capacity sold and not held, and
energy that was called.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import xarray as xr

from optimizer.model.objective import HARD_OBLIGATION_PENALTY
from optimizer.problem.obligations_and_reserves import obligations_in_outlook
from optimizer.problem.planning_outlook import position_outlook
from twin.equipment import CoolingPlant, HeatReuse, Renewable
from twin.markets.bill_lines import MeteredImport, excess_charges
from twin.markets.planned_billing import BillingRules
from twin.markets.reserve_products import ReserveProduct, is_recovering
from twin.markets.tariffs import InstantArray, valid_tariffs
from twin.physics import FloatArray
from twin.relations import Obligation, Store
from twin.simulation.minimum_times import StagingCounts, staging_by_bank
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN, interval_edges
from twin.units import MINUTES_PER_HOUR, QUARTER_HOUR_H
from twin.variables import net_import
from twin.workload.queue import RackPool


@dataclass(frozen=True, kw_only=True)
class WorkBalance:
    """Work of a run.

    - `done`: work done. [MWh of uncapped rack energy]
    - `remaining_work`: Kind -> work arrived and left at the end. [MWh of uncapped rack energy]
    - `lateness`: hours by which jobs ended after their deadlines, summed. [h]
    - `power_weighted_lateness`: the same, each job weighted by the uncapped power of its racks.
      [MWh]
    """

    done: float
    remaining_work: Mapping[str, float]
    lateness: float
    power_weighted_lateness: float


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """Bill of one run.

    - `accounts`: Account -> money. [EUR]
    - `carbon_kg`, `energy_mwh`, `it_energy_mwh`, `water_m3`, `peak_mw`, `pue`: sums of the run, in
      the units of their names.
    - `weighted_terms`: weights of carbon, lateness and the excess over budgets in the objective.
      [EUR]
    - `work_left_energy_mwh`: electricity that the work left at the end will take. [MWh]
    - `carbon_equal_work_kg`: carbon of the import, and of what the work left will take less what
      stores gained, at the mean intensity; None if it was not computed. [kg]
    - `staging`: starts, and violated minimum times, of committed units.
    """

    accounts: dict[str, float]
    carbon_kg: float
    energy_mwh: float
    it_energy_mwh: float
    water_m3: float
    peak_mw: float
    pue: float
    weighted_terms: dict[str, float]
    work_left_energy_mwh: float = 0.0
    carbon_equal_work_kg: float | None = None
    staging: StagingCounts = field(default_factory=StagingCounts)

    @property
    def cost(self) -> float:
        """Money spent. [EUR]"""
        return sum(self.accounts.values())

    @property
    def objective(self) -> float:
        """Money spent and the weights of carbon, budgets and lateness. [EUR]"""
        return self.cost + sum(self.weighted_terms.values())


def settle(
    site: Site,
    record: xr.Dataset,
    series: xr.Dataset,
    *,
    work: WorkBalance,
    peak_power: float,
    reserves: xr.Dataset | None = None,
) -> Settlement:
    """Return the bill of a run.

    - `record`: record of the plant, in minutes.
    - `series`: true ``electricity_price`` and ``carbon_intensity`` on quarter-hours that cover the
      record.
    - `peak_power`: largest import of the first month before the run. [MW]
    - `reserves`: quarter-hours of the products, see :func:`reserve_accounts`; None without
      reserves.
    """
    meter = _Meter.of(record, series)
    sums = (record[name].sum() for name in ("facility_power", "it_power", "water_use"))
    energy, it_energy, water = (float(total) / MINUTES_PER_HOUR for total in sums)
    left, stored = (
        energy_of_work_left(site, work, overhead=energy / it_energy),
        _stored_energy_change(site, record),
    )
    carbon = float(meter.imported @ meter.intensity)
    contract_costs = contract_accounts(site, record, series, net=meter.net)
    counted = contract_costs.pop("carbon", carbon)  # by the market, where contracts match hours
    counted += (left - stored) * meter.mean_carbon(counted)
    weighted = {
        "carbon": counted * site.weights.carbon,
        "budgets": contract_costs.pop("budgets", 0.0),
        "lateness": work.power_weighted_lateness * site.weights.lateness,
    }
    return Settlement(
        accounts={
            "electricity": float((meter.imported - meter.exported) @ meter.price),
            **network_accounts(site, meter.starts, meter.net, peak_power=peak_power),
            "water": water * site.weights.water,
            **_machines(site, record),
            **contract_costs,
            "stocks": -stored * meter.mean_cost(site),
            "backlog": left * meter.mean_cost(site),
            **reserve_accounts(site, reserves, meter.price),
        },
        carbon_kg=carbon,
        energy_mwh=energy,
        it_energy_mwh=it_energy,
        water_m3=water,
        peak_mw=max(float(meter.net.max()), 0.0),
        pue=energy / it_energy,
        weighted_terms=weighted,
        work_left_energy_mwh=left,
        carbon_equal_work_kg=carbon + (left - stored) * meter.mean_carbon(carbon),
        staging=StagingCounts.total(ran for _, ran in staging_by_bank(site, record)),
    )


@dataclass(frozen=True, kw_only=True)
class _Meter:
    """Quarter-hours of the meter of the connection.

    - `starts`, `net`: starts of its quarter-hours [datetime64] and mean import less export,
      ``(time,)``. [MW]
    - `imported`, `exported`: energy imported and exported, ``(time,)``. [MWh]
    - `price`, `intensity`: true price [EUR MWh-1] and carbon intensity [kg MWh-1], ``(time,)``.
    """

    starts: InstantArray
    net: FloatArray
    imported: FloatArray
    exported: FloatArray
    price: FloatArray
    intensity: FloatArray

    @classmethod
    def of(cls, record: xr.Dataset, series: xr.Dataset) -> Self:
        """Return the meter over a record in minutes."""
        starts = record["time"].to_numpy()[::METERING_PERIOD_MIN]
        truth = series.sel(time=starts)
        hours = truth["duration"].to_numpy()
        power = net_import(record).to_numpy()
        net = power.reshape(-1, METERING_PERIOD_MIN).mean(axis=1)
        return cls(
            starts=starts,
            net=net,
            imported=np.maximum(net, 0.0) * hours,
            exported=np.maximum(-net, 0.0) * hours,
            price=truth["electricity_price"].to_numpy(),
            intensity=truth["carbon_intensity"].to_numpy(),
        )

    def mean_carbon(self, counted: float) -> float:
        """Return the mean intensity for the ``counted`` carbon of the import. [kg; kg MWh-1]

        Carbon is counted by the grid's intensity or by the market.
        """
        own = float(self.imported @ self.intensity)
        if counted and not own:  # contracts count where the grid is unknown
            return counted / float(self.imported.sum())
        return float(self.intensity.mean()) * (counted / own if own else 1.0)

    def mean_cost(self, site: Site) -> float:
        """Return the mean price of the run with its fee. [EUR MWh-1]"""
        return float(self.price.mean()) + float(site.import_fees(self.starts).mean())


def energy_of_work_left(site: Site, work: WorkBalance, *, overhead: float) -> float:
    """Return the electricity that the work left will take. [MWh]

    ``overhead`` is the energy of the site per energy of its racks. [1]
    """
    pool = RackPool.from_site(site)
    total = 0.0
    for name, left in work.remaining_work.items():
        kind = site.work[name]
        power = float(pool.power_above_idle(kind.min_power_share))
        total += left * power / (pool.rack_power * (1.0 - kind.tolerance))
    return total * overhead


def _machines(site: Site, record: xr.Dataset) -> dict[str, float]:
    """Return the cost of machines beside energy and water, by account; heat is sold. [EUR]"""
    found = {"wear": 0.0, "renewables": 0.0, "heat": 0.0}

    def add(account: str, price: float, variable: str, **machine: str) -> None:
        found[account] += price * float(record[variable].sel(machine).sum()) / MINUTES_PER_HOUR

    for store in site.stores:
        kind = site.equipment[store.owner].kind
        add("wear", store.wear_cost, f"{kind}_discharge", **{kind: store.owner})
    for source in site.machines_of(Renewable):
        add("renewables", source.price, "renewable_used_power", renewable=source.name)
    for pump in site.machines_of(HeatReuse):
        add("heat", -pump.heat_price, "heat_reuse_power", heat_reuse=pump.name)
    if banks := staging_by_bank(site, record):
        found["starts"] = sum(
            units.start_cost * ran.starts + units.stop_cost * ran.stops for units, ran in banks
        )
    return found


def _stored_energy_change(site: Site, record: xr.Dataset) -> float:
    """Return the electricity equivalent of the change of all stores over the run. [MWh]"""
    total = 0.0
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        level = record[f"{kind}_level"].sel({kind: store.owner}).to_numpy()
        total += (level[-1] - level[0]) * _electricity_per_unit(site, store, record)
    return total


def _electricity_per_unit(site: Site, store: Store, record: xr.Dataset) -> float:
    """Return the electricity per unit of a store; of cooling, the mean draw of the run. [1]"""
    if store.carrier == "medium_voltage":
        return store.discharge_efficiency
    plant = next(p for p in site.machines_of(CoolingPlant) if p.serves == store.carrier)
    drawn = float(record["cooling_plant_draw"].sel(circuit=plant.name).sum())
    cooled = float(record["cooling_plant_output"].sel(circuit=plant.name).sum())
    return drawn / max(cooled, 1e-9)


def network_accounts(
    site: Site, starts: InstantArray, net: FloatArray, *, peak_power: float
) -> dict[str, float]:
    """Return what decisions add to the bill of the network. [EUR]

    - `starts`: starts of the run's quarter-hours, UTC. [datetime64]
    - `net`: mean import less export in each. [MW]
    - `peak_power`: largest import of the first billing period before the run, of what counts in it.
      [MW]

    Returns
    -------
    dict
        ``network`` and ``peak``, and ``excess`` where powers are contracted. Standing charges and
        contracted powers do not depend on decisions: ``gigatwin tariff`` computes them.

    Notes
    -----
    Only the part of the first billing period's peak above the earlier one is paid, and of any
    period only the part above the peak that is expected anyway. A period of which the run covers a
    part pays its whole peak, because the run caused it. The prices are those of the tariff for
    planning, without rounding.
    """
    imported, exported = (
        np.maximum(net, 0.0) * QUARTER_HOUR_H,
        np.maximum(-net, 0.0) * QUARTER_HOUR_H,
    )
    fees = imported @ site.import_fees(starts) + exported.sum() * site.grid_connection.export_fee
    found = {"network": float(fees), "peak": _peaks(site, starts, net, before=peak_power)}
    if site.billing_rules.contracted_classes:
        found["excess"] = _excess(site.billing_rules, starts, net)
    return found


def _peaks(site: Site, starts: InstantArray, net: FloatArray, *, before: float) -> float:
    """Return the cost of the peaks of all billing periods. [EUR]"""
    peaks, prices = billed_peaks(site, starts, net, before=before)
    return float((prices * peaks).sum())


def billed_peaks(
    site: Site, starts: InstantArray, net: FloatArray, *, before: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Return the billed peak of each billing period, and its price. [MW; EUR MW-1]

    - `starts`, `net`: see :func:`network_accounts`.
    - `before`: peak of the first period before the run, which is not billed again. [MW]
    """
    billing = site.billing_rules
    first = np.unique(billing.period_numbers(starts), return_index=True)[1]
    counted = np.where(billing.counts_in_peak(starts), np.maximum(net, 0.0), 0.0)
    free = billing.expected_peaks(starts[first])
    free[0] = max(free[0], before)
    peaks = np.maximum(np.maximum.reduceat(counted, first) - free, 0.0)
    price = site.grid_connection.peak_price
    prices = billing.peak_prices(starts[first]) if site.tariffs else np.full(len(first), price)
    return peaks, prices


def _excess(billing: BillingRules, starts: InstantArray, net: FloatArray) -> float:
    """Return the cost of power beyond the contracted one, by month and class. [EUR]"""
    total = 0.0
    for tariff, is_valid in valid_tariffs(
        billing.tariffs, starts, billing.time_zone, extends_last=True
    ):
        metered = MeteredImport(
            tariff, starts[is_valid], net[is_valid], time_zone=billing.time_zone
        )
        total += sum(
            price * tariff.tax_factor * power for _, power, price in excess_charges(metered)
        )
    return total


def contract_accounts(
    site: Site, record: xr.Dataset, series: xr.Dataset, *, net: FloatArray
) -> dict[str, float]:
    """Return the cost of deviations from contracts.

    - `record`: record of the plant, in minutes.
    - `series`: prices, carbon and obligations, on quarter-hours that cover the record.
    - `net`: mean import less export in the quarter-hours of the meter, ``(time,)``. [MW]

    Returns
    -------
    dict
        Account -> money, for existing obligations only. ``carbon`` is that of hours which no
        contract covers, in kg. [EUR; kg]

    Notes
    -----
    Contracts settle by the terms with which they are planned, at true prices. Energy costs its
    day-ahead price in another account, so a position pays here only the difference of its
    imbalance. A budget of a year is settled on the run's share of the year.
    """
    truth = series.sel(time=record["time"].to_numpy()[::METERING_PERIOD_MIN])
    if "position_held" not in truth:  # absent from a record
        position = position_outlook(
            site, series, truth["time"].to_numpy()[0], axes=truth, foresight=True
        )
        truth = truth.assign(position.data_vars)
    water = (
        record["water_use"].to_numpy().reshape(-1, METERING_PERIOD_MIN).sum(axis=1)
        / MINUTES_PER_HOUR
    )
    paid: dict[str, float] = defaultdict(float)
    for promise in obligations_in_outlook(site, truth):
        paid[promise.account] += _deviation_cost(promise, truth, net, water=water)
    return dict(paid)


def _deviation_cost(
    obligation: Obligation, truth: xr.Dataset, net: FloatArray, *, water: FloatArray
) -> float:
    terms = obligation.terms(truth)
    hours = truth["duration"].to_numpy()
    flows: Mapping[str, FloatArray] = {
        "net_import": hours * net,
        "import": hours * np.maximum(net, 0.0),
        "carbon": hours * np.maximum(net, 0.0) * truth["carbon_intensity"].to_numpy(),
        "water": water,
    }
    flow, count = flows[obligation.quantity], len(terms.contracted_sum)
    window = np.minimum(terms.window_index, count - 1).astype(int)
    sums = np.bincount(window, weights=flow, minlength=count)
    deviation = np.where(
        terms.is_binding, sums - np.where(terms.is_binding, terms.contracted_sum, 0.0), 0.0
    )
    up_price = np.minimum(terms.price_above, HARD_OBLIGATION_PENALTY[obligation.quantity])
    above, below = np.maximum(deviation, 0.0), np.maximum(-deviation, 0.0)
    return float(up_price @ above + terms.price_below @ below)


RESERVE_CALL_TOLERANCE_MW: Final = 1e-6
"""Power that counts as none. [MW]"""


def reserve_accounts(
    site: Site, reserves: xr.Dataset | None, electricity_price: FloatArray
) -> dict[str, float]:
    """Return the cost of reserves; negative where they earn.

    - `reserves`: in equal intervals on ``time`` and ``product``: ``reserve_capacity``,
      ``reserve_shortfall`` and ``reserve_price``; ``reserve_used_up``, ``reserve_used_down`` and
      ``reserve_missed``, if any was called.
    - `electricity_price`: true price in the same intervals, ``(time,)``. [EUR MWh-1]

    Returns
    -------
    dict
        ``reserves``, ``activation``, ``reserve_shortfall``; nothing where nothing is held. [EUR]

    Notes
    -----
    Capacity is paid as held or called. A shortfall costs the penalty, unless the capacity was used
    within the recovery time of the product; so does a call that was not delivered. Energy that a
    product pays for leaves the balance at the price of the hour, as if it had not been metered, and
    is paid at its own price. Other energy, and the network fees on both, are settled by the meter.
    """
    if reserves is None:
        return {}
    hours = reserves["duration"].to_numpy()
    found = {"reserves": 0.0, "activation": 0.0, "reserve_shortfall": 0.0}
    for name in map(str, reserves["product"].to_numpy()):
        part, product = reserves.sel(product=name), site.reserves[name]
        capacity, short, price = (
            part[f"reserve_{quantity}"].to_numpy()
            for quantity in ("capacity", "shortfall", "price")
        )
        up, down = (_reserve_variable(part, quantity) for quantity in ("used_up", "used_down"))
        found["reserves"] -= float(hours @ (price * capacity))
        late = ~is_recovering(
            product,
            (up > RESERVE_CALL_TOLERANCE_MW) | (down > RESERVE_CALL_TOLERANCE_MW),
            interval_edges(reserves),
        )
        found["reserve_shortfall"] += product.shortfall_price * float(hours @ (short * late))
        found["reserve_shortfall"] += product.shortfall_price * float(
            hours @ _reserve_variable(part, "missed")
        )
        for used, paid, sign in _activation_prices(product, up, down):
            found["activation"] += sign * float(hours @ (used * (electricity_price - paid)))
    return found


def _activation_prices(
    product: ReserveProduct, up: FloatArray, down: FloatArray
) -> Iterator[tuple[FloatArray, float, float]]:
    """Yield power, its own price and its sign, of what is paid apart from the meter."""
    if product.activation_up_price is not None:
        yield up, product.activation_up_price, 1.0
    if product.activation_down_price is not None:
        yield down, product.activation_down_price, -1.0


def _reserve_variable(part: xr.Dataset, quantity: str) -> FloatArray:
    quantity = f"reserve_{quantity}"
    return part[quantity].to_numpy() if quantity in part else np.zeros(part.sizes["time"])
