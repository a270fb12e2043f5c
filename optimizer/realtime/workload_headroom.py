"""Headroom of a site for movable work in the coming interval: racks, and power under its limits.

The site is simulated at several powers of its halls with steady temperatures; the curve is cached
by site, air and set points.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Self

import numpy as np
import xarray as xr

from twin.equipment import CoolingPlant, HeatReuse
from twin.feasibility import connection
from twin.feasibility.reserve_activation import connection_headroom, required_running_work
from twin.markets.contracts import LoadTargetContract
from twin.physics import FloatArray
from twin.simulation import setpoints
from twin.simulation.engine import VariableKey, simulate_arrays
from twin.simulation.simulate import idle_dispatch, state_values
from twin.simulation.state import initial_state
from twin.simulation.state_integration import CoolingCapacity
from twin.site import Site
from twin.variables import machine_values
from twin.weather import Weather, rounded_air
from twin.workload.queue import RackPool

MAX_WARMING_SHARE: Final = 0.75
"""Share of the temperature margin that a load step may use; lags are uncertain. [1]"""

INTERVAL_MARGIN_SHARE: Final = 0.75
"""Share of the margin kept within the quarter-hour; the remainder is for load noise. [1]"""

MIN_LOAD_SENSITIVITY: Final = 1e-6
"""Lowest sensitivity of a circuit's load to the halls' power. [1]"""

LOAD_LEVEL_COUNT: Final = 7
"""Hall powers at which the site is simulated, from idle to full. [1]"""

REPEATED_INTERVAL: Final = np.zeros(LOAD_LEVEL_COUNT, dtype=np.int64)
"""Index that repeats one interval for each hall power."""

STEADY_STATE_HOURS: Final = np.full(LOAD_LEVEL_COUNT, 1e6)
"""Interval lengths in which all temperatures become steady. [h]"""

MAX_CACHED_CURVES: Final = 64
"""Load curves in the cache, for the sites of a fleet and the air of some hours. [1]"""


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """Racks and power that a site leaves for movable work.

    - `available_racks`: racks not used by the inference service. [1]
    - `max_work_power`, `max_work_power_within_peak`: largest power of work above idle, and the
      largest that does not raise the billing peak. [MW]
    - `max_load_step`: largest increase of work before valves follow, without overheating a circuit.
      [MW]
    - `site_power_without_work`, `site_power_per_work_power`: power of the whole site without work
      [MW], and its increase with the power of work. [1]
    - `onsite_power`: planned power of renewables and batteries. [MW]
    - `max_uncharged_import`: import that raises no charge and breaks no partner's target. [MW]
    - `import_limit`: import that no minute may exceed; a part of the margin is left for load noise.
      [MW]
    - `idle_chilled_load`, `spare_cooling`: load of the chilled circuit with all racks idle, and
      spare cooling with all racks at work; they bound what a tank can do. [MW]
    - `export_limit`: largest export; if negative, least import. [MW]
    - `reserve_committed_power`: Kind -> power above idle that must run, since reserves count on its
      pause. [MW]
    - `rack_limits_before_target`: Kind -> racks up to which work may start, because of a coming
      target. [1]
    """

    available_racks: float
    max_work_power: float
    max_work_power_within_peak: float
    max_load_step: float = np.inf
    site_power_without_work: float = 0.0
    site_power_per_work_power: float = 1.0
    onsite_power: float = 0.0
    max_uncharged_import: float = np.inf
    import_limit: float = np.inf
    idle_chilled_load: float = 0.0
    spare_cooling: float = 0.0
    export_limit: float = 0.0
    reserve_committed_power: Mapping[str, float] = field(default_factory=dict)
    rack_limits_before_target: Mapping[str, float] = field(default_factory=dict)

    def reduced_by(self, power: float) -> Self:
        """Return the headroom less a further power of the site [MW] where peaks count."""
        reduced = self.max_work_power_within_peak - max(power, 0.0) / self.site_power_per_work_power
        return replace(self, max_work_power_within_peak=max(reduced, 0.0))

    def net_import_at(self, work_power: float) -> float:
        """Return the net import at a power of work above idle. [MW]"""
        return self.site_power_at(work_power) - self.onsite_power

    def site_power_at(self, work_power: float) -> float:
        """Return the power of the whole site at a power of work above idle. [MW]"""
        return self.site_power_without_work + self.site_power_per_work_power * work_power


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Limits of the grid connection in the first interval of an outlook.

    - `plannable_import_limit`: import limit that plans may use. [MW]
    - `max_import`, `max_export`: limits less the site's margin and the reserves of this interval
      and the next; a negative export is the least import. [MW]
    """

    plannable_import_limit: float
    max_import: float
    max_export: float

    @classmethod
    def from_outlook(cls, site: Site, state: xr.Dataset, outlook: xr.Dataset) -> Self:
        """Return the limits for a state and an outlook; see :func:`compute_headroom`."""
        limit = float(connection.plannable_import_limit(site, state, _first_interval(outlook))[0])
        soon = outlook.isel(time=slice(0, 2))
        up, down = (float(sold.max()) for sold in connection_headroom(site, soon))
        return cls(
            plannable_import_limit=limit,
            max_import=(1.0 - site.margins.power) * limit - down,
            max_export=max_export(site) - up,
        )


def compute_headroom(site: Site, state: xr.Dataset, outlook: xr.Dataset) -> Headroom:
    """Return the headroom in the first interval of an outlook or schedule, with the site's margins.

    The largest hall power that meets the import limit and the capacity of each cooling plant is
    interpolated on the load curve. The planned import and the usual one do not count as a new peak.
    Hard load targets limit like the connection. A reserve may be activated in its first minute, so
    that the interval before already leaves its room. Sun that sets gives less at the end than in
    the mean.

    - `state`: state now, with the ``peak_power`` of the billing period and the ``usual_power``.
    - `outlook`: ``service_racks``, weather, ``renewable_available_power`` and heat sold; in a
      schedule also battery and renewable power, planned import and reserves. The next interval is
      used too.
    """
    pool, now = RackPool.from_site(site), _first_interval(outlook)
    racks = float(pool.racks - now["service_racks"][0])
    curve = site_load_curve(site, now)
    halls = curve.hall_power
    floor = halls[0] + (pool.racks - racks) * float(pool.power_above_idle(1.0))
    power, onsite = curve.site_power, _onsite_power(now)
    connection = ConnectionLimits.from_outlook(site, state, outlook)
    supplied = connection.max_import + onsite - _renewable_decline(outlook.isel(time=slice(0, 2)))
    hard = max(_requested_import(site, now, is_hard=True), _planned(now)) + onsite
    allowed = float(np.interp(min(supplied, hard), power, halls))
    allowed = min(allowed, _cooling_limit(site, curve))
    load, spare = _chilled(site, curve)
    peak = _peak_safe_import(site, state, now)
    safe = min(allowed, float(np.interp(peak + onsite, power, halls))) if peak < np.inf else allowed
    base, full = np.interp([floor, halls[-1]], halls, power).tolist()
    return Headroom(
        available_racks=max(racks, 0.0),
        max_work_power=max(allowed - floor, 0.0),
        max_work_power_within_peak=max(safe - floor, 0.0),
        max_load_step=_max_load_step(site, curve, state, now),
        site_power_without_work=base,
        site_power_per_work_power=(full - base) / (halls[-1] - floor) if halls[-1] > floor else 1.0,
        onsite_power=onsite,
        max_uncharged_import=peak,
        import_limit=(1.0 - INTERVAL_MARGIN_SHARE * site.margins.power)
        * connection.plannable_import_limit,
        idle_chilled_load=load,
        spare_cooling=spare,
        export_limit=connection.max_export,
        reserve_committed_power={
            kind: float(power[0]) for kind, power in required_running_work(site, now).items()
        },
    )


def _first_interval(outlook: xr.Dataset) -> xr.Dataset:
    """Return the first interval of an outlook."""
    return outlook if outlook.sizes["time"] == 1 else outlook.isel(time=slice(0, 1))


def max_export(site: Site) -> float:
    """Return the export up to which renewables may run; if negative, the least import. [MW]

    It keeps the margin of the import, since deviations of the load are the same in both directions.
    """
    return (
        site.grid_connection.export_limit - site.margins.power * site.grid_connection.import_limit
    )


@dataclass(frozen=True, kw_only=True)
class SiteLoadCurve:
    """Power of the site and load of its cooling plants at each power of its halls.

    - `hall_power`, `site_power`: power of all halls, from idle to full, and of the whole site,
      ``(level,)``. [MW]
    - `plant_loads`: cooling plant -> its load, ``(level,)``. [MW]
    - `max_plant_loads`: cooling plant -> load that plans may use in this air. [MW]
    """

    hall_power: FloatArray
    site_power: FloatArray
    plant_loads: dict[str, FloatArray]
    max_plant_loads: dict[str, float]


def _cooling_limit(site: Site, curve: SiteLoadCurve) -> float:
    """Return the largest hall power that every circuit can carry. [MW]"""
    return min(
        float(
            np.interp(
                _max_plant_load(site, curve, plant), curve.plant_loads[plant.name], curve.hall_power
            )
        )
        for plant in site.machines_of(CoolingPlant)
    )


def _max_load_step(site: Site, curve: SiteLoadCurve, state: xr.Dataset, now: xr.Dataset) -> float:
    r"""Return the largest increase of hall power within the interval that valves can follow. [MW]

    Valves with a lag :math:`\tau` leave :math:`\tau \Delta Q` of heat in the loop after a step of
    :math:`\Delta Q`; the loop's heat capacity :math:`K` must take it below the limit.
    """
    max_step = np.inf
    for plant in site.machines_of(CoolingPlant):
        target = plant.supply_temperature
        if setpoints.SUPPLY_SET_POINT_VARIABLE in now:
            target = float(machine_values(now, setpoints.SUPPLY_SET_POINT_VARIABLE, plant.name)[0])
        water = float(machine_values(state, "facility_supply_temperature", plant.name))
        margin = MAX_WARMING_SHARE * max(plant.supply_limit - max(water, target), 0.0)
        lag = site.contingency.valve_time_constant(plant.loop)
        share = max(
            float(np.ptp(curve.plant_loads[plant.name]) / np.ptp(curve.hall_power)),
            MIN_LOAD_SENSITIVITY,
        )
        max_step = min(max_step, margin * plant.loop.heat_capacity / lag / share)
    return max_step


def _chilled(site: Site, curve: SiteLoadCurve) -> tuple[float, float]:
    """Return the least load and the spare capacity of the chilled circuit. [MW]"""
    for plant in site.machines_of(CoolingPlant):
        if plant.serves == "chilled":
            load = curve.plant_loads[plant.name]
            return float(load[0]), max(_max_plant_load(site, curve, plant) - float(load[-1]), 0.0)
    return 0.0, 0.0


def _max_plant_load(site: Site, curve: SiteLoadCurve, plant: CoolingPlant) -> float:
    """Return the load that a cooling plant may carry, with the site's margin. [MW]"""
    return (1.0 - site.margins.power) * curve.max_plant_loads[plant.name]


def _onsite_power(now: xr.Dataset) -> float:
    """Return the power of renewables and batteries. [MW]"""
    used = "renewable_used_power" if "renewable_used_power" in now else "renewable_available_power"
    return _total(now, used) + _total(now, "battery_discharge") - _total(now, "battery_charge")


def _renewable_decline(soon: xr.Dataset) -> float:
    """Return how much less renewables give at the end of an interval than in its mean. [MW]

    Their power is interpolated between the mid-points of this interval and the next.
    """
    name = "renewable_used_power"
    if "renewable_available_power" not in soon:
        return 0.0
    available = soon["renewable_available_power"].transpose("time", ...).to_numpy()
    used = soon[name].transpose("time", ...).to_numpy()[0] if name in soon else available[0]
    hours = soon["duration"].to_numpy()  # the mid-point of a longer interval is further away
    last = np.average(available, axis=0, weights=hours[::-1])
    return float(np.maximum(used - last, 0.0).sum())


def _uncharged_import(site: Site, state: xr.Dataset, now: xr.Dataset) -> float:
    """Return the import that raises no charge in the interval; infinite without charges. [MW]"""
    if not (site.tariffs or site.grid_connection.peak_price):
        return np.inf
    peak, mean_import = (float(state[name]) for name in ("peak_power", "usual_power"))
    return site.billing_rules.uncharged_import(
        now["time"].to_numpy()[0], peak=peak, mean_import=mean_import
    )


def _peak_safe_import(site: Site, state: xr.Dataset, now: xr.Dataset) -> float:
    """Return the import that raises no charge and breaks no target; infinite without either. [MW]

    A peak of 0 is unknown: an idle site has shown no import.
    """
    planned = _planned(now)
    free = max(_uncharged_import(site, state, now), planned) or np.inf
    return min(free, max(_requested_import(site, now), planned))


def _requested_import(site: Site, now: xr.Dataset, *, is_hard: bool = False) -> float:
    """Return the lowest net import of partners' targets, or of hard ones; infinite if none. [MW]"""
    if "grid_import_target" not in now:
        return np.inf
    firm = {one.name: one.least or -np.inf for one in site.machines_of(LoadTargetContract)}
    floor = [firm.get(name, -np.inf) for name in now["contract"].to_numpy().tolist()]
    names = ("grid_import_target", "grid_import_target_price")
    target, price = (now[name].transpose(..., "contract").to_numpy() for name in names)
    counts = np.isinf(price) | (not is_hard)
    return float(np.where(counts, np.maximum(target, floor), np.inf).min())


def _planned(now: xr.Dataset) -> float:
    """Return the import that a schedule plans; 0 in an outlook. [MW]"""
    return _total(now, "grid_import_power")


def _total(now: xr.Dataset, name: str) -> float:
    return float(now[name].to_numpy().sum()) if name in now else 0.0


def site_load_curve(site: Site, now: xr.Dataset) -> SiteLoadCurve:
    """Return the load curve of a site with idle storage and steady temperatures.

    `now` is one interval of an outlook or schedule with the weather, the heat sold and the set
    points. The air is rounded, so that quarter-hours and successive plans share a curve.
    """
    return _simulate_curve(_LoadCurveKey.of(site, now))


@dataclass(frozen=True, kw_only=True)
class _LoadCurveKey:
    """Cache key of a load curve.

    - `site`, `identity`: the site, compared by its identity; the cache keeps it alive.
    - `setpoints`: heat sold and set points, by variable and machine.
    """

    site: Site = field(compare=False)
    identity: int
    air: tuple[tuple[str, float], ...]
    setpoints: tuple[tuple[VariableKey, float], ...]

    @classmethod
    def of(cls, site: Site, now: xr.Dataset) -> Self:
        """Return the key of one interval."""
        air = tuple((name, float(values[0])) for name, values in rounded_air(now).items())
        return cls(
            site=site,
            identity=id(site),
            air=air,
            setpoints=tuple(_planned_setpoints(site, now).items()),
        )


def _planned_setpoints(site: Site, now: xr.Dataset) -> dict[VariableKey, float]:
    """Return the planned heat sales and set points."""
    name, planned = "heat_reuse_power", {}
    for pump in site.machines_of(HeatReuse):
        planned[name, pump.name] = (
            float(machine_values(now, name, pump.name)[0]) if name in now else 0.0
        )
    if any(variable in now for variable in setpoints.COMMAND_VARIABLES):
        planned |= {
            key: float(values[0]) for key, values in setpoints.read_set_points(site, now).items()
        }
    return planned


@lru_cache(maxsize=MAX_CACHED_CURVES)
def _simulate_curve(case: _LoadCurveKey) -> SiteLoadCurve:
    site, pool = case.site, RackPool.from_site(case.site)
    halls = np.linspace(
        pool.racks * pool.rack_idle_power, pool.racks * pool.rack_power, LOAD_LEVEL_COUNT
    )
    air = Weather.from_arrays({name: np.array([value]) for name, value in case.air})
    capacities = CoolingCapacity.by_plant(site, air)
    run = simulate_arrays(
        site,
        state_values(initial_state(site)),  # steady results do not depend on it
        _orders(case, halls),
        weather=air.select(REPEATED_INTERVAL),
        durations=STEADY_STATE_HOURS,
        capacities={
            name: capacity.select(REPEATED_INTERVAL) for name, capacity in capacities.items()
        },
    )
    return SiteLoadCurve(
        hall_power=halls,
        site_power=run.flows["facility_power", ""],
        plant_loads={name: run.flows["cooling_load", name] for name in capacities},
        max_plant_loads={
            p.name: float(capacities[p.name].plannable(p)[0])
            for p in site.machines_of(CoolingPlant)
        },
    )


def _orders(case: _LoadCurveKey, halls: FloatArray) -> dict[VariableKey, FloatArray]:
    """Return orders of equal hall shares, planned heat and set points, and idle storage."""
    site = case.site
    powers = {
        ("hall_power", work.owner): halls * (work.racks / site.rack_count)
        for work in site.flexible_loads
    }
    planned = {key: np.full(LOAD_LEVEL_COUNT, value) for key, value in case.setpoints}
    return idle_dispatch(site, LOAD_LEVEL_COUNT) | powers | planned
