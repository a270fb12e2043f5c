"""Parts of the status from decisions and readings: past, plan, limits, jobs, failures, reasons."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import xarray as xr

from optimizer.problem.obligations_and_reserves import (
    REQUESTED_SUFFIX,
    required_capacity,
    sold_capacity,
)
from optimizer.service.decision_engine import DecisionResult
from optimizer.service.status import (
    Column,
    DecisionStatus,
    FailurePlan,
    FailuresStatus,
    FailureStatus,
    JobsStatus,
    KindOfWorkStatus,
    LastKnownPower,
    LimitsStatus,
    OperationSeries,
    OperationStatus,
    RequestedTarget,
    TemperatureStatus,
)
from telemetry.feed.flex_agent import is_within_target
from telemetry.messages.feed_documents import ScheduleDraft
from twin.equipment import Battery, ChilledWaterTank
from twin.markets.contracts import LoadTargetContract
from twin.physics import FloatArray
from twin.simulation import operating_limits
from twin.site import Site
from twin.text import one_line
from twin.time_axes import QUARTER_HOUR, interval_edges
from twin.units import format_minute, format_second
from twin.variables import machine_values, net_import
from twin.workload.queue import RackPool

DISPLAYED_INTERVAL_COUNT: Final = 96
"""Quarter-hours of past and plan that are shown. [1]"""

DISPLAYED_DECIMALS: Final = 4

GRID_REQUEST_TOLERANCE_MW: Final = 1e-3
"""Power difference that is treated as zero. [MW]"""

TEMPERATURE_LABELS: Final = {
    "facility_supply_temperature": "facility supply",
    "full_load_chip_temperature": "full load chip",
    "rack_inlet_temperature": "rack inlet",
}
"""Limited variable -> its label."""

type Row = Mapping[str, float | None]


class StatusView:
    """The last day as measured, and the plan of the next."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._temperature_limits = limited_temperatures(site)
        self._capacity = {
            "battery": sum(battery.capacity for battery in site.machines_of(Battery)),
            "tank": sum(tank.capacity for tank in site.machines_of(ChilledWaterTank)),
        }
        self._past: deque[tuple[str, Row, Row]] = deque(maxlen=DISPLAYED_INTERVAL_COUNT)
        self._last: DecisionResult | None = None
        self._document: ScheduleDraft | None = None
        self._last_metered: LastKnownPower | None = None
        self._shown: OperationStatus | None = None

    def add_decision(
        self,
        result: DecisionResult,
        observed: xr.Dataset,
        means: xr.Dataset,
        *,
        plan: ScheduleDraft | None = None,
    ) -> None:
        """Add a decision.

        - `observed`: readings at the start of its quarter-hour.
        - `means`: measured means of the quarter-hour before.
        - `plan`: document of partners.
        """
        state, queue = result.estimate.state, result.queue
        outlook = result.problem.outlook.isel(time=0)
        pool = RackPool.from_site(self._site)
        work_power = (
            float(means["hall_power"].sum(skipna=False)) - pool.racks * pool.rack_idle_power
        )
        renewable = means.get("renewable_used_power")
        row = {
            "grid_power": float(net_import(means)),
            "planned_power": self._planned_import(result.time),
            "electricity_price": float(outlook["electricity_price"]),
            "carbon_intensity": float(outlook["carbon_intensity"]),
            **{
                f"{kind}_level": float(state[f"{kind}_level"].sum())
                for kind, capacity in self._capacity.items()
                if capacity
            },
            "work_power": work_power,
            "renewable_power": None if renewable is None else float(renewable.sum(skipna=False)),
            "backlog": queue.backlog,
        }
        reached = result.choice.replay
        heat = {
            temperature_label(limit): _temperature(limit, observed, reached)
            for limit in self._temperature_limits
        }
        self._past.append((format_second(result.time), _finite_row(row), _finite_row(heat)))
        self._last_metered = None if np.isfinite(net_import(observed)) else _last_known(result)
        self._last, self._document, self._shown = result, plan, None

    def _planned_import(self, now: np.datetime64) -> float | None:
        """Return the mean that the last plan expects of the meter; None without such a plan."""
        if self._last is None or self._last.time != now - QUARTER_HOUR:
            return None
        if self._document is not None:
            return self._document["intervals"][0]["scheduled_mw"]
        first = self._last.choice.schedule.isel(time=0)
        return float(net_import(first))

    def status(self) -> OperationStatus:
        """Return what changes with a decision only, so that it is built once for each."""
        if self._shown is None:
            self._shown = self._build_status()
        return self._shown

    def _build_status(self) -> OperationStatus:
        capacity = self._capacity
        limits = LimitsStatus(
            grid_import_power=self._site.grid_connection.import_limit,
            battery_capacity=capacity["battery"] or None,
            tank_capacity=capacity["tank"] or None,
            temperatures=self._temperatures(),
        )
        past, last = self._past_series(), self._last
        if last is None:
            return OperationStatus(past=past, last_known=None, limits=limits)
        return OperationStatus(
            past=past,
            last_known=self._last_metered,
            limits=limits,
            plan=self._plan(last),
            jobs=_jobs(last),
            failures=failure_status(last),
            asked=next_requests(self._site, last.problem.outlook, last.choice.schedule),
        )

    def _past_series(self) -> OperationSeries:
        rows = list(self._past)
        names = rows[-1][1] if rows else {}
        heat = rows[-1][2] if rows else {}
        columns: dict[str, Column] = {name: [row[name] for _, row, _ in rows] for name in names}
        return OperationSeries(
            time=[time for time, *_ in rows],
            temperatures={name: [row[name] for *_, row in rows] for name in heat},
            **columns,
        )

    def _temperatures(self) -> list[TemperatureStatus]:
        now = self._past[-1][2] if self._past else {}
        names = [temperature_label(limit) for limit in self._temperature_limits]
        return [
            TemperatureStatus(name=name, value=now.get(name), limit=limit.upper, unit="degC")
            for name, limit in zip(names, self._temperature_limits, strict=True)
        ]

    def _plan(self, result: DecisionResult) -> OperationSeries:
        schedule, replay = result.choice.schedule, result.choice.replay
        pool = RackPool.from_site(self._site)
        work_power = replay["hall_power"].sum("hall") - pool.racks * pool.rack_idle_power
        columns: dict[str, xr.DataArray] = {
            "grid_power": net_import(schedule),
            "electricity_price": schedule["electricity_price"],
            "carbon_intensity": schedule["carbon_intensity"],
            "work_power": work_power,
        }
        if "renewable_used_power" in schedule:
            columns["renewable_power"] = schedule["renewable_used_power"].sum("renewable")
        for kind, capacity in self._capacity.items():
            if capacity:
                columns[f"{kind}_level"] = replay[f"{kind}_level"].sum(kind)[1:]
        shown = {name: _column(array.to_numpy()) for name, array in columns.items()}
        if self._document is not None:  # as in the document: means that include the ramp
            rows = self._document["intervals"][:DISPLAYED_INTERVAL_COUNT]
            shown |= {"p10": [r["p10_mw"] for r in rows], "p90": [r["p90_mw"] for r in rows]}
            shown["grid_power"][: len(rows)] = [r["scheduled_mw"] for r in rows]
        return OperationSeries(
            time=_times(schedule["time"].to_numpy()),
            temperatures={
                temperature_label(limit): _column(limit.values(replay))
                for limit in self._temperature_limits
            },
            **shown,
        )


def _jobs(result: DecisionResult) -> JobsStatus:
    queue = result.queue
    runs = np.array([n in result.orders.jobs for n in queue.jobs.number.tolist()], dtype=bool)
    late = queue.jobs.deadline < queue.instant
    kinds = []
    for index, kind in enumerate(queue.pool.kinds):
        is_kind = queue.jobs.kind_index == index
        row = KindOfWorkStatus(
            kind=kind.name,
            running=int((is_kind & runs).sum()),
            waiting=int((is_kind & ~runs).sum()),
            racks=float(queue.jobs.racks[is_kind & runs].sum()),
        )
        kinds.append(row)
    return JobsStatus(
        running=int(runs.sum()),
        waiting=int((~runs).sum()),
        late=int(late.sum()),
        backlog_mwh=round(queue.backlog, DISPLAYED_DECIMALS),
        kinds=kinds,
    )


def _last_known(result: DecisionResult) -> LastKnownPower:
    """Return the last reading of the meter and its age at a decision."""
    known = result.estimate
    power, age = float(net_import(known.state)), 60.0 * known.meter_silence
    return LastKnownPower(grid_power=_number(power), age_minutes=_number(age))


def limited_temperatures(site: Site) -> list[operating_limits.OperatingLimit]:
    """Return the temperatures that have an upper limit."""
    return [
        limit
        for limit in operating_limits.operating_limits(site)
        if limit.margin_kind == "temperature" and np.isfinite(limit.upper)
    ]


def temperature_label(limit: operating_limits.OperatingLimit) -> str:
    """Return the label of a limited temperature, such as "facility supply, warm_plant"."""
    label = TEMPERATURE_LABELS[limit.variable]
    return f"{label}, {limit.owner}" if limit.owner else label


def _temperature(
    limit: operating_limits.OperatingLimit, observed: xr.Dataset, replay: xr.Dataset
) -> float:
    """Return a temperature as measured, or as simulated where no sensor shows it. [degC]"""
    if limit.variable in observed:
        seen = observed[limit.variable]
        value = float(seen.sel({limit.dimension: limit.owner}) if limit.dimension else seen)
        if np.isfinite(value):
            return value
    return float(limit.values(replay)[0])


def decision_status(result: DecisionResult, revision: int) -> DecisionStatus:
    """Return ``decision`` of the status; ``revision`` is the newest published one."""
    choice = result.choice
    reasons: Mapping[str, object] = {}
    if choice.decision is not None:
        reasons = choice.decision.explanation.as_json()
    accounts = reasons.get("accounts")
    money = sum(accounts.values()) if isinstance(accounts, dict) else 0.0
    fields = {
        "time": format_second(result.time),
        "source": choice.source.value,
        "reason": choice.reason,
        "revision": revision,
        "cost_eur": round(money, DISPLAYED_DECIMALS),
        "seconds": round(result.decision_duration_s, DISPLAYED_DECIMALS),
    }
    return _typed({**reasons, **fields}, DecisionStatus)


def _typed[T: msgspec.Struct](values: Mapping[str, object], kind: type[T]) -> T:
    """Return plain values, some of them numbers of numpy, as a part of the status."""
    encoded = msgspec.json.encode(values, enc_hook=np.generic.item)
    return msgspec.json.decode(encoded, type=kind)


def failure_status(result: DecisionResult) -> FailuresStatus | None:
    """Return ``failures`` of the status: the ride-through time of each single failure."""
    covered = result.choice.verdict.contingency_coverage
    if covered is None:
        return None
    return FailuresStatus(
        time=format_second(result.time),
        least_minutes=covered.required_minutes,
        exposed=[name for name, _ in covered.violations()],
        rows=[_typed(row, FailureStatus) for row in covered.rows()],
        plan=FailurePlan(
            time=_times(covered.time),
            minutes=_column(covered.min_minutes),
            failure=list(covered.worst_contingencies[:DISPLAYED_INTERVAL_COUNT]),
        ),
    )


def decision_log_fields(result: DecisionResult) -> dict[str, object]:
    """Return the log fields of a decision."""
    first = result.choice.schedule.isel(time=0)
    return {
        "time": format_second(result.time),
        "source": result.choice.source.value,
        "reason": one_line(result.choice.reason),
        "power_mw": round(float(net_import(first)), 2),
        "jobs": len(result.orders.jobs),
    }


def _finite_row(row: Mapping[str, float | None]) -> Row:
    return {name: _number(value) for name, value in row.items()}


def _times(times: np.ndarray) -> list[str]:
    return [format_second(time) for time in times[:DISPLAYED_INTERVAL_COUNT]]


def _column(values: np.ndarray | Sequence[float]) -> Column:
    return [_number(float(value)) for value in list(values)[:DISPLAYED_INTERVAL_COUNT]]


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, DISPLAYED_DECIMALS)


def next_requests(site: Site, outlook: xr.Dataset, schedule: xr.Dataset) -> list[RequestedTarget]:
    """Return the next target of each partner; empty without any.

    `outlook` is that of :func:`request_outlook`, `schedule` the one in force.
    """
    net = net_import(schedule).reindex(time=outlook["time"], method="pad").to_numpy()
    edges = interval_edges(outlook)
    found = []
    for partner, limit in _limits(site, outlook):
        is_requested = limit < site.grid_connection.import_limit - GRID_REQUEST_TOLERANCE_MW
        if not is_requested.any():
            continue
        first = int(np.argmax(is_requested))
        differs = np.abs(limit[first:] - limit[first]) > GRID_REQUEST_TOLERANCE_MW
        last = first + int(np.argmax(differs)) if differs.any() else len(limit)
        power, planned = float(limit[first]), float(net[first:last].max())
        is_kept = is_within_target(planned, power)
        begin, end = format_minute(edges[first]), format_minute(edges[last])
        when = f"until {end}" if first == 0 else f"from {begin} to {end}"
        verdict = "kept" if is_kept else "not kept"
        called = _activated_products(site, outlook.isel(time=slice(first, last)), partner)
        text = f"at most {power:.2f} MW {when}{called}; "
        text += f"planned {planned:.2f} MW: {verdict}"
        row = RequestedTarget(
            partner=partner,
            power=power,
            planned=planned,
            begin=begin,
            end=end,
            is_kept=is_kept,
            words=text,
        )
        found.append(row)
    return found


def _activated_products(site: Site, outlook: xr.Dataset, partner: str) -> str:
    """Return as text which reserves of a partner are activated meanwhile; empty if none.

    An outlook does not distinguish an activation from the recovery after it.
    """
    contracts = [one for one in site.machines_of(LoadTargetContract) if one.issuer == partner]
    products = [site.reserves[name] for one in contracts for name in one.activates]
    unavailable = [
        (one.name, sold_capacity(outlook, one) - required_capacity(outlook, one))
        for one in products
    ]
    names = ", ".join(
        name for name, power in unavailable if (power > GRID_REQUEST_TOLERANCE_MW).any()
    )
    return f", {names} called or recovering" if names else ""


def _limits(site: Site, outlook: xr.Dataset) -> Iterator[tuple[str, FloatArray]]:
    """Yield each partner that may send requests, and the limit in each interval. [MW]"""
    contracts = site.machines_of(LoadTargetContract)
    if "grid_import_target" in outlook:
        for contract in contracts:
            if contract.name in outlook["contract"].to_numpy():
                name = _as_requested(outlook, "grid_import_target")
                yield contract.issuer, machine_values(outlook, name, contract.name)
    if "grid_import_limit" in outlook:
        name = _as_requested(outlook, "grid_import_limit")
        names = [c.issuer for c in contracts if c.effect == "curtailment"]
        yield ", ".join(names) or "the connection", outlook[name].to_numpy()


def _as_requested(outlook: xr.Dataset, name: str) -> str:
    """Return the variable of a limit without the earlier turn that it needs, if there is one."""
    requested = f"{name}{REQUESTED_SUFFIX}"
    return requested if requested in outlook else name
