"""Settle what a plant really did: money by account, carbon, water, work and lateness.

The same bill is written for every policy, from the plant's own record and the true prices. Stores
that end fuller or emptier than they began, and work left over, are valued at the mean price and
carbon intensity of the run, so that no policy gains by emptying the ones or putting off the other.
Work left over is taken to run at the cap that its kind tolerates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import xarray as xr

from optimizer.service.trials.network_bill import network_accounts
from optimizer.service.trials.promise_bill import promise_accounts
from optimizer.service.trials.reserve_bill import reserve_accounts
from twin.equipment import CoolingPlant, HeatReuse, Renewable
from twin.markets.tariffs import InstantArray
from twin.physics import FloatArray
from twin.relations import Store
from twin.simulation.limits import StagingCounts, staging_by_bank
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN
from twin.variables import net_import
from twin.workload.queue import RackPool

MINUTES: Final = 60.0
"""Minutes in an hour. [1]"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What became of the work of a run.

    Attributes
    ----------
    done
        Work done. [MWh of uncapped rack energy]
    left
        Kind -> work arrived and left over at the end. [MWh of uncapped rack energy]
    lateness
        Hours by which jobs ended after their deadlines, summed. [h]
    late_energy
        The same, each job weighted by the uncapped power of its racks. [MWh]
    """

    done: float
    left: Mapping[str, float]
    lateness: float
    late_energy: float


@dataclass(frozen=True, kw_only=True)
class Bill:
    """One policy's run, settled.

    Attributes
    ----------
    accounts
        Account -> money. [EUR]
    carbon_kg, energy_mwh, it_energy_mwh, water_m3, peak_mw, pue
        Sums of the run, in the units of their names.
    weighted
        What carbon, lateness and the excess over budgets weigh in the objective. [EUR]
    staging
        Starts and broken least times of units that have to be committed.
    """

    accounts: dict[str, float]
    carbon_kg: float
    energy_mwh: float
    it_energy_mwh: float
    water_m3: float
    peak_mw: float
    pue: float
    weighted: dict[str, float]
    staging: StagingCounts = field(default_factory=StagingCounts)

    @property
    def cost(self) -> float:
        """Money spent. [EUR]"""
        return sum(self.accounts.values())

    @property
    def objective(self) -> float:
        """Money spent and what the rest weighs. [EUR]"""
        return self.cost + sum(self.weighted.values())


def settle(
    site: Site,
    record: xr.Dataset,
    series: xr.Dataset,
    *,
    work: Work,
    peak_power: float,
    reserves: xr.Dataset | None = None,
) -> Bill:
    """Write the bill of a run.

    Parameters
    ----------
    site
        The site with its contracts and weights.
    record
        What the plant did, in minutes.
    series
        True ``electricity_price`` and ``carbon_intensity`` on quarter-hours that cover the record.
    work
        What became of the jobs.
    peak_power
        Greatest import of the first month before the run. [MW]
    reserves
        Products' quarter-hours for :mod:`optimizer.service.trials.reserve_bill`; None if none.

    Returns
    -------
    Bill
        The settled run.
    """
    meter = _Meter.of(record, series)
    sums = (record[name].sum() for name in ("facility_power", "it_power", "water_use"))
    energy, it_energy, water = (float(total) / MINUTES for total in sums)
    owed, kept = energy_owed(site, work, overhead=energy / it_energy), _energy_kept(site, record)
    carbon = float(meter.taken @ meter.intensity)
    promised = promise_accounts(site, record, series, net=meter.net)
    counted = promised.pop("carbon", carbon)  # by the market, where contracts match hours
    counted += (owed - kept) * meter.mean_carbon(counted)
    weighted = _weighed(site, work, carbon=counted, budgets=promised.pop("budgets", 0.0))
    return Bill(
        accounts={
            "electricity": float((meter.taken - meter.fed) @ meter.price),
            **network_accounts(site, meter.starts, meter.net, peak_power=peak_power),
            "water": water * site.weights.water,
            **_machines(site, record),
            **promised,
            "stocks": -kept * meter.mean_cost(site),
            "backlog": owed * meter.mean_cost(site),
            **reserve_accounts(site, reserves, meter.price),
        },
        carbon_kg=carbon,
        energy_mwh=energy,
        it_energy_mwh=it_energy,
        water_m3=water,
        peak_mw=max(float(meter.net.max()), 0.0),
        pue=energy / it_energy,
        weighted=weighted,
        staging=StagingCounts.over(ran for _, ran in staging_by_bank(site, record)),
    )


def _weighed(site: Site, work: Work, *, carbon: float, budgets: float) -> dict[str, float]:
    """Return what carbon [kg], the penalty of budgets and lateness weigh: nobody pays it. [EUR]"""
    return {
        "carbon": carbon * site.weights.carbon,
        "budgets": budgets,
        "lateness": work.late_energy * site.weights.lateness,
    }


@dataclass(frozen=True, kw_only=True)
class _Meter:
    """What the meter of the connection showed, quarter-hour by quarter-hour.

    Attributes
    ----------
    starts, net
        Starts of its quarter-hours [datetime64] and mean import less export, ``(time,)``. [MW]
    taken, fed
        Energy imported and exported, ``(time,)``. [MWh]
    price, intensity
        True price [EUR MWh-1] and carbon intensity [kg MWh-1], ``(time,)``.
    """

    starts: InstantArray
    net: FloatArray
    taken: FloatArray
    fed: FloatArray
    price: FloatArray
    intensity: FloatArray

    @classmethod
    def of(cls, record: xr.Dataset, series: xr.Dataset) -> Self:
        """Read the meter over a record in minutes."""
        starts = record["time"].to_numpy()[::METERING_PERIOD_MIN]
        truth = series.sel(time=starts)
        hours = truth["duration"].to_numpy()
        power = net_import(record).to_numpy()
        net = power.reshape(-1, METERING_PERIOD_MIN).mean(axis=1)
        return cls(
            starts=starts,
            net=net,
            taken=np.maximum(net, 0.0) * hours,
            fed=np.maximum(-net, 0.0) * hours,
            price=truth["electricity_price"].to_numpy(),
            intensity=truth["carbon_intensity"].to_numpy(),
        )

    def mean_carbon(self, counted: float) -> float:
        """Return the mean intensity of the run, as its import counts. [kg MWh-1]

        Parameters
        ----------
        counted
            Carbon of the import, by the grid's intensity or by the market. [kg]
        """
        own = float(self.taken @ self.intensity)
        if counted and not own:  # contracts count where nobody tells of the grid
            return counted / float(self.taken.sum())
        return float(self.intensity.mean()) * (counted / own if own else 1.0)

    def mean_cost(self, site: Site) -> float:
        """Return the mean price of the run with its fee. [EUR MWh-1]"""
        return float(self.price.mean()) + float(site.import_fees(self.starts).mean())


def energy_owed(site: Site, work: Work, *, overhead: float) -> float:
    """Return the electricity that the work left over will take. [MWh]

    Parameters
    ----------
    site
        The site.
    work
        What became of the jobs.
    overhead
        Energy of the site for each of its racks. [1]
    """
    pool = RackPool.of(site)
    total = 0.0
    for name, left in work.left.items():
        kind = site.work[name]
        power = float(pool.power(kind.least_power))
        total += left * power / (pool.rack_power * (1.0 - kind.tolerance))
    return total * overhead


def _machines(site: Site, record: xr.Dataset) -> dict[str, float]:
    """Return what the machines cost beside energy and water, by account. [EUR]"""
    return {
        "wear": _wear(site, record),
        "renewables": _renewables(site, record),
        "heat": _heat(site, record),
        **_starts(site, record),
    }


def _starts(site: Site, record: xr.Dataset) -> dict[str, float]:
    """Return what starts and stops cost, where units have to be committed. [EUR]"""
    banks = staging_by_bank(site, record)
    paid = (units.start_cost * ran.starts + units.stop_cost * ran.stops for units, ran in banks)
    return {"starts": sum(paid)} if banks else {}


def _wear(site: Site, record: xr.Dataset) -> float:
    total = 0.0
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        given = record[f"{kind}_discharge"].sel({kind: store.owner})
        total += store.wear_price * float(given.sum()) / MINUTES
    return total


def _renewables(site: Site, record: xr.Dataset) -> float:
    total = 0.0
    for source in site.of(Renewable):
        used = record["renewable_used_power"].sel(renewable=source.name)
        total += source.price * float(used.sum()) / MINUTES
    return total


def _heat(site: Site, record: xr.Dataset) -> float:
    """Return what heat costs: below zero, since it is paid for. [EUR]"""
    total = 0.0
    for pump in site.of(HeatReuse):
        sold = record["heat_reuse_power"].sel(heat_reuse=pump.name)
        total -= pump.heat_price * float(sold.sum()) / MINUTES
    return total


def _energy_kept(site: Site, record: xr.Dataset) -> float:
    """Return the electricity that the change of all stores over the run stands for. [MWh]"""
    total = 0.0
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        level = record[f"{kind}_level"].sel({kind: store.owner}).to_numpy()
        total += (level[-1] - level[0]) * _electricity_in(site, store, record)
    return total


def _electricity_in(site: Site, store: Store, record: xr.Dataset) -> float:
    """Return the electricity that a unit of a store stands for: of cooling, the run's mean draw."""
    if store.carrier == "medium_voltage":
        return store.discharge_efficiency
    plant = next(p for p in site.of(CoolingPlant) if p.serves == store.carrier)
    drawn = float(record["cooling_plant_draw"].sel(circuit=plant.name).sum())
    cooled = float(record["cooling_plant_output"].sel(circuit=plant.name).sum())
    return drawn / max(cooled, 1e-9)
