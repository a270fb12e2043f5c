"""What a site leaves for work in the coming interval: racks, and power under its limits.

What a site takes while its halls draw one power or another, tried once for hours alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Self

import numpy as np
import xarray as xr

from twin.equipment import CoolingPlant, HeatReuse
from twin.feasibility import connection
from twin.feasibility.reserve_activation import connection_headroom, work_headroom
from twin.markets.contracts import LoadTargetContract
from twin.physics import FloatArray
from twin.simulation import setpoints
from twin.simulation.engine import VariableKey, simulate_arrays
from twin.simulation.integration import CoolingCapacity
from twin.simulation.simulate import idle_dispatch, state_values
from twin.simulation.state import initial_state
from twin.site import Site
from twin.variables import machine_values
from twin.weather import Weather, rounded_air
from twin.workload.queue import RackPool

MAX_WARMING_SHARE: Final = 0.75
"""Share of the way to its limit by which a rise may warm water: no lag is known well. [1]"""

INTERVAL_MARGIN_SHARE: Final = 0.75
"""Share of the margin that is kept within the quarter-hour: loads are restless by the rest. [1]"""

LOAD_SHARE_TOLERANCE: Final = 1e-6
"""Share of the halls' power that is none: a circuit whose load does not hang on them. [1]"""


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """What the site leaves for movable work.

    Attributes
    ----------
    racks
        Racks not busy with the inference service. [1]
    work_power
        Most that work may draw above idle. [MW]
    peak_safe_power
        The same, if the peak of the billing period is not to be raised. [MW]
    max_load_step
        By how much work may rise before valves follow, and no circuit gets too warm. [MW]
    base_power, slope
        Power of the whole site while no work runs [MW], and its rise with the power of work. [1]
    onsite_power
        Power that sun, wind and batteries give, as far as it is planned. [MW]
    peak_power
        Import that raises no peak, which is the greatest so far, what is usual, or what the plan
        means to take, and breaks no target of a partner. [MW]
    import_limit
        Most that the connection may give; of the margin a rest is left to what is restless. [MW]
    chilled_load, spare_cooling
        Cooling that the chilled circuit carries with all racks idle, and what its plant could
        give beyond its load with all racks at work: bounds of what a tank can do. [MW]
    export_limit
        Most that may be given to the grid; below 0 what is to be taken at least. [MW]
    committed_work
        Power above idle that work of a kind must draw, since reserves count on its stop. [MW]
    start_limits
        Racks up to which work of a kind may start, since a target comes before it may pause. [1]
    """

    racks: float
    work_power: float
    peak_safe_power: float
    max_load_step: float = np.inf
    base_power: float = 0.0
    slope: float = 1.0
    onsite_power: float = 0.0
    peak_power: float = np.inf
    import_limit: float = np.inf
    chilled_load: float = 0.0
    spare_cooling: float = 0.0
    export_limit: float = 0.0
    committed_work: Mapping[str, float] = field(default_factory=dict)
    start_limits: Mapping[str, float] = field(default_factory=dict)

    def reduced_by(self, power: float) -> Self:
        """Return the same with less calm power where the site takes more than was thought.

        Parameters
        ----------
        power
            What it takes more; nothing changes below 0. [MW]
        """
        calm = self.peak_safe_power - max(power, 0.0) / self.slope
        return replace(self, peak_safe_power=max(calm, 0.0))

    def import_power(self, work_power: float) -> float:
        """Return the net import while work draws some power above idle. [MW]"""
        return self.site_power(work_power) - self.onsite_power

    def site_power(self, work_power: float) -> float:
        """Return the power of the whole site while work draws some power above idle. [MW]"""
        return self.base_power + self.slope * work_power


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """What the connection may carry in the first interval of an outlook.

    Attributes
    ----------
    limit
        Most import that it is good for. [MW]
    max_import, max_export
        With the site's margin kept, and the room of reserves of this interval and the next; the
        export below 0 where so much is to be imported at least. [MW]
    """

    limit: float
    max_import: float
    max_export: float

    @classmethod
    def from_outlook(cls, site: Site, state: xr.Dataset, outlook: xr.Dataset) -> Self:
        """Return it for a state and an outlook, as :func:`compute_headroom` takes them."""
        limit = float(connection.plannable_import_limit(site, state, _first(outlook))[0])
        soon = outlook.isel(time=slice(0, 2))
        up, down = (float(sold.max()) for sold in connection_headroom(site, soon))
        return cls(
            limit=limit,
            max_import=(1.0 - site.margins.power) * limit - down,
            max_export=max_export(site) - up,
        )


def compute_headroom(site: Site, state: xr.Dataset, outlook: xr.Dataset) -> Headroom:
    """Return what the site leaves for work in the first interval of an outlook or a schedule.

    Parameters
    ----------
    site
        The site.
    state
        Its state now, with the ``peak_power`` of the billing period so far and the usual import.
    outlook
        ``service_racks``, the weather and ``renewable_available_power`` of the interval, and the
        heat that is sold; in a schedule also what battery and renewables do, the import that it
        plans, and what is held for reserves. Of the next interval these and renewables count too.

    Returns
    -------
    Headroom
        Racks and power left, with the site's margin kept from the connection and the cooling.

    Notes
    -----
    The twin runs the site at seven powers of its halls; the greatest that keeps the import limit
    and the capacity of each cooling plant is found between them. The peak counts the import that is
    planned, as its price is weighed, and the usual one, which a month reaches anyway. A hard target
    of a partner is a limit like that of the connection: to plans it is dearer than to be late.
    A reserve may be called in its first minute: so the interval before leaves its room at the
    connection. And sun that sets gives less at the end than in its mean, which is the peak's.
    """
    pool, now = RackPool.from_site(site), _first(outlook)
    racks = float(pool.racks - now["service_racks"][0])
    found = site_load_curve(site, now)
    halls = found.halls
    floor = halls[0] + (pool.racks - racks) * float(pool.power_above_idle(1.0))
    power, own = found.power, _onsite_power(now)
    connection = ConnectionLimits.from_outlook(site, state, outlook)
    supplied = connection.max_import + own - _renewable_decline(outlook.isel(time=slice(0, 2)))
    hard = max(_requested_import(site, now, is_hard=True), _planned(now)) + own
    allowed = float(np.interp(min(supplied, hard), power, halls))
    allowed = min(allowed, _cooling_limit(site, found))
    load, spare = _chilled(site, found)
    peak = _peak_safe_import(site, state, now)
    calm = min(allowed, float(np.interp(peak + own, power, halls))) if peak < np.inf else allowed
    base, full = np.interp([floor, halls[-1]], halls, power).tolist()
    return Headroom(
        racks=max(racks, 0.0),
        work_power=max(allowed - floor, 0.0),
        peak_safe_power=max(calm - floor, 0.0),
        max_load_step=_max_load_step(site, found, state, now),
        base_power=base,
        slope=(full - base) / (halls[-1] - floor) if halls[-1] > floor else 1.0,
        onsite_power=own,
        peak_power=peak,
        import_limit=(1.0 - INTERVAL_MARGIN_SHARE * site.margins.power) * connection.limit,
        chilled_load=load,
        spare_cooling=spare,
        export_limit=connection.max_export,
        committed_work={kind: float(power[0]) for kind, power in work_headroom(site, now).items()},
    )


def _first(outlook: xr.Dataset) -> xr.Dataset:
    """Return the first interval."""
    return outlook if outlook.sizes["time"] == 1 else outlook.isel(time=slice(0, 1))


def max_export(site: Site) -> float:
    """Return the export that renewables are capped for.

    The margin is that of the import: what surprises the connection is the load, whichever way the
    power flows. Where no more may be given than that, as much is to be imported: below 0. [MW]
    """
    return site.grid.export_limit - site.margins.power * site.grid.import_limit


@dataclass(frozen=True, kw_only=True)
class SiteLoadCurve:
    """What the site takes at each power of its halls.

    Attributes
    ----------
    halls
        The powers, from all racks idle to all at work, ``(level,)``. [MW]
    power
        Power of the whole site, ``(level,)``. [MW]
    loads
        Cooling plant -> its load, ``(level,)``. [MW]
    max_loads
        Cooling plant -> what plans may ask of it in this air. [MW]
    """

    halls: FloatArray
    power: FloatArray
    loads: dict[str, FloatArray]
    max_loads: dict[str, float]


def _cooling_limit(site: Site, found: SiteLoadCurve) -> float:
    """Return the most power of the halls that every circuit can carry. [MW]"""
    return min(
        float(np.interp(_max_plant_load(site, found, plant), found.loads[plant.name], found.halls))
        for plant in site.machines_of(CoolingPlant)
    )


def _max_load_step(site: Site, found: SiteLoadCurve, state: xr.Dataset, now: xr.Dataset) -> float:
    r"""Return by how much the halls may rise within the interval, so that valves follow. [MW]

    Valves that lag by :math:`\tau` leave a rise of :math:`\Delta Q`, however fast, with
    :math:`\tau \Delta Q` of heat in the loop's :math:`K`: its water bears that near its limit.
    """
    least = np.inf
    for plant in site.machines_of(CoolingPlant):
        target = plant.supply_temperature
        if setpoints.SUPPLY_SET_POINT in now:
            target = float(machine_values(now, setpoints.SUPPLY_SET_POINT, plant.name)[0])
        water = float(machine_values(state, "facility_supply_temperature", plant.name))
        room = MAX_WARMING_SHARE * max(plant.supply_limit - max(water, target), 0.0)
        lag = site.contingency.valve_time_constant(plant.loop)
        share = max(
            float(np.ptp(found.loads[plant.name]) / np.ptp(found.halls)), LOAD_SHARE_TOLERANCE
        )
        least = min(least, room * plant.loop.heat_capacity / lag / share)
    return least


def _chilled(site: Site, found: SiteLoadCurve) -> tuple[float, float]:
    """Return what the chilled circuit carries at least, and can spare at the most. [MW]"""
    for plant in site.machines_of(CoolingPlant):
        if plant.serves == "chilled":
            drawn = found.loads[plant.name]
            return float(drawn[0]), max(_max_plant_load(site, found, plant) - float(drawn[-1]), 0.0)
    return 0.0, 0.0


def _max_plant_load(site: Site, found: SiteLoadCurve, plant: CoolingPlant) -> float:
    """Return what a cooling plant may carry, with the site's margin. [MW]"""
    return (1.0 - site.margins.power) * found.max_loads[plant.name]


def _onsite_power(now: xr.Dataset) -> float:
    """Return the power that the site has beside the grid: sun, wind and battery. [MW]"""
    used = "renewable_used_power" if "renewable_used_power" in now else "renewable_available_power"
    return _sum(now, used) + _sum(now, "battery_discharge") - _sum(now, "battery_charge")


def _renewable_decline(soon: xr.Dataset) -> float:
    """Return by how much sun and wind give less at the end of an interval than in its mean. [MW]

    What they could give runs from the middle of one interval to the middle of the next.
    """
    name = "renewable_used_power"
    if "renewable_available_power" not in soon:
        return 0.0
    able = soon["renewable_available_power"].transpose("time", ...).to_numpy()
    used = soon[name].transpose("time", ...).to_numpy()[0] if name in soon else able[0]
    hours = soon["duration"].to_numpy()  # the middle of the longer one is further from the end
    last = np.average(able, axis=0, weights=hours[::-1])
    return float(np.maximum(used - last, 0.0).sum())


def _uncharged_import(site: Site, state: xr.Dataset, now: xr.Dataset) -> float:
    """Return the import that raises no charge in the interval; infinite if none does. [MW]"""
    if not (site.tariffs or site.grid.peak_price):
        return np.inf
    peak, usual = (float(state[name]) for name in ("peak_power", "usual_power"))
    return site.billing_rules.uncharged_import(
        now["time"].to_numpy()[0], peak=peak, mean_import=usual
    )


def _peak_safe_import(site: Site, state: xr.Dataset, now: xr.Dataset) -> float:
    """Return the import that raises no charge and breaks no target; infinite if any may. [MW]

    A peak of 0 is one that nobody knows yet: a site at rest has shown no import.
    """
    planned = _planned(now)
    free = max(_uncharged_import(site, state, now), planned) or np.inf
    return min(free, max(_requested_import(site, now), planned))


def _requested_import(site: Site, now: xr.Dataset, *, is_hard: bool = False) -> float:
    """Return the least net import that partners ask for, or must have; infinite if none. [MW]"""
    if "grid_import_target" not in now:
        return np.inf
    least = {one.name: one.least or -np.inf for one in site.machines_of(LoadTargetContract)}
    floor = [least.get(name, -np.inf) for name in now["contract"].to_numpy().tolist()]
    words = ("grid_import_target", "grid_import_target_price")
    asked, price = (now[word].transpose(..., "contract").to_numpy() for word in words)
    counts = np.isinf(price) | (not is_hard)
    return float(np.where(counts, np.maximum(asked, floor), np.inf).min())


def _planned(now: xr.Dataset) -> float:
    """Return the import that a schedule plans; none if it is no schedule. [MW]"""
    return _sum(now, "grid_import_power")


def _sum(now: xr.Dataset, name: str) -> float:
    return float(now[name].to_numpy().sum()) if name in now else 0.0


LOAD_LEVEL_COUNT: Final = 7
"""Hall powers at which the site is tried, from idle to full. [1]"""

REPEATED_INTERVAL: Final = np.zeros(LOAD_LEVEL_COUNT, dtype=np.int64)
"""Index that repeats one interval for each of these powers."""

STEADY_STATE_HOURS: Final = np.full(LOAD_LEVEL_COUNT, 1e6)
"""Lengths of intervals in which all temperatures have settled. [h]"""

MAX_CACHED_CURVES: Final = 64
"""Cases that are remembered: a fleet's sites in the air of some hours. [1]"""


def site_load_curve(site: Site, now: xr.Dataset) -> SiteLoadCurve:
    """Return what a site takes, stores at rest and all temperatures settled.

    Parameters
    ----------
    site
        The site.
    now
        One interval of an outlook or a schedule: the weather, the heat that is sold, and what the
        water side is told.

    Notes
    -----
    Air is told roughly, so that the quarters of an hour, and the hours between two plans, are
    tried once.
    """
    return _evaluate(_LoadCurveKey.of(site, now))


@dataclass(frozen=True, kw_only=True)
class _LoadCurveKey:
    """What a site is tried in; sites are told apart by what they are, not by what they hold.

    Attributes
    ----------
    site, identity
        The site, and by what it is told apart; both live as long as the case is remembered.
    air
        Words of the weather.
    setpoints
        Heat that is sold and what the water side is told, by word and machine.
    """

    site: Site = field(compare=False)
    identity: int
    air: tuple[tuple[str, float], ...]
    setpoints: tuple[tuple[VariableKey, float], ...]

    @classmethod
    def of(cls, site: Site, now: xr.Dataset) -> Self:
        """Return the case of one interval."""
        air = tuple((name, float(values[0])) for name, values in rounded_air(now).items())
        return cls(
            site=site,
            identity=id(site),
            air=air,
            setpoints=tuple(_planned_setpoints(site, now).items()),
        )


def _planned_setpoints(site: Site, now: xr.Dataset) -> dict[VariableKey, float]:
    """Return heat and water as planned."""
    name, told = "heat_reuse_power", {}
    for pump in site.machines_of(HeatReuse):
        told[name, pump.name] = (
            float(machine_values(now, name, pump.name)[0]) if name in now else 0.0
        )
    if any(word in now for word in setpoints.COMMAND_VARIABLES):
        told |= {
            key: float(values[0]) for key, values in setpoints.read_set_points(site, now).items()
        }
    return told


@lru_cache(maxsize=MAX_CACHED_CURVES)
def _evaluate(case: _LoadCurveKey) -> SiteLoadCurve:
    site, pool = case.site, RackPool.from_site(case.site)
    halls = np.linspace(
        pool.racks * pool.rack_idle_power, pool.racks * pool.rack_power, LOAD_LEVEL_COUNT
    )
    air = Weather.from_arrays({name: np.array([value]) for name, value in case.air})
    ceilings = {
        plant.name: CoolingCapacity.from_plant(plant, air)
        for plant in site.machines_of(CoolingPlant)
    }
    ran = simulate_arrays(
        site,
        state_values(initial_state(site)),  # nothing hangs on them once all has settled
        _orders(case, halls),
        weather=air.select(REPEATED_INTERVAL),
        durations=STEADY_STATE_HOURS,
        capacities={name: ceiling.select(REPEATED_INTERVAL) for name, ceiling in ceilings.items()},
    )
    return SiteLoadCurve(
        halls=halls,
        power=ran.flows["facility_power", ""],
        loads={name: ran.flows["cooling_load", name] for name in ceilings},
        max_loads={
            p.name: float(ceilings[p.name].plannable(p)[0]) for p in site.machines_of(CoolingPlant)
        },
    )


def _orders(case: _LoadCurveKey, halls: FloatArray) -> dict[VariableKey, FloatArray]:
    """Return orders of some powers of all halls: heat and water as told, all else rests."""
    site = case.site
    powers = {
        ("hall_power", work.owner): halls * (work.racks / site.racks)
        for work in site.flexible_loads
    }
    told = {key: np.full(LOAD_LEVEL_COUNT, value) for key, value in case.setpoints}
    return idle_dispatch(site, LOAD_LEVEL_COUNT) | powers | told
