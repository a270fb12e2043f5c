"""Parts of the snapshot for page, metrics and ``status``: past, plan, limits, jobs, decision."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem.obligations_and_reserves import (
    REQUESTED_SUFFIX,
    required_capacity,
    sold_capacity,
)
from optimizer.service.decision_engine import DecisionResult
from optimizer.service.hold import Hold
from telemetry.feed.flex_agent import is_within_target
from telemetry.messages.feed_documents import ScheduleDraft
from twin.equipment import Battery, ChilledWaterTank
from twin.markets.contracts import LoadTargetContract
from twin.physics import FloatArray
from twin.simulation import limits
from twin.site import Site
from twin.time_axes import QUARTER_HOUR, interval_edges
from twin.units import format_minute, format_second
from twin.variables import machine_values, net_import
from twin.workload.queue import RackPool

DISPLAYED_INTERVALS: Final = 96
"""Quarter-hours of past and plan that are shown. [1]"""

DISPLAYED_DECIMALS: Final = 4

GRID_REQUEST_TOLERANCE_MW: Final = 1e-3
"""Power difference that is treated as zero. [MW]"""

type Row = Mapping[str, float | None]


class StatusView:
    """The last day as measured, and the plan of the next."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._temperature_limits = [
            limit
            for limit in limits.operating_limits(site)
            if limit.margin_kind == "temperature" and np.isfinite(limit.upper)
        ]
        self._capacity = {
            "battery": sum(battery.capacity for battery in site.machines_of(Battery)),
            "tank": sum(tank.capacity for tank in site.machines_of(ChilledWaterTank)),
        }
        self._past: deque[tuple[str, Row, Row]] = deque(maxlen=DISPLAYED_INTERVALS)
        self._last: DecisionResult | None = None
        self._document: ScheduleDraft | None = None
        self._last_metered: Row | None = None
        self._shown: dict[str, object] | None = None

    def update(
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
            _temperature_label(limit): _temperature(limit, observed, reached)
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

    def as_snapshot(self) -> dict[str, object]:
        """Return ``past``, ``plan``, ``limits``, ``jobs`` and others of the snapshot.

        They change with a decision only, so they are built once for each.
        """
        if self._shown is None:
            self._shown = self._build_snapshot()
        return dict(self._shown)

    def _build_snapshot(self) -> dict[str, object]:
        site = self._site
        shown: dict[str, object] = {
            "past": self._show_past(),
            "last_known": self._last_metered,
            "limits": {
                "grid_import_power": site.grid_connection.import_limit,
                **{
                    f"{kind}_capacity": capacity
                    for kind, capacity in self._capacity.items()
                    if capacity
                },
                "temperatures": self._temperatures(),
            },
        }
        if self._last is not None:
            shown |= {"plan": self._plan(self._last), "jobs": self._jobs(self._last)}
            shown |= {"failures": failure_status(self._last)}
            schedule, outlook = self._last.choice.schedule, self._last.problem.outlook
            shown |= {"asked": next_requests(site, outlook, schedule)}
        return shown

    def _show_past(self) -> dict[str, object]:
        rows = list(self._past)
        names = rows[-1][1] if rows else {}
        heat = rows[-1][2] if rows else {}
        return {
            "time": [time for time, *_ in rows],
            **{name: [row[name] for _, row, _ in rows] for name in names},
            "temperatures": {name: [row[name] for *_, row in rows] for name in heat},
        }

    def _temperatures(self) -> list[dict[str, object]]:
        now = self._past[-1][2] if self._past else {}
        return [
            {
                "name": _temperature_label(limit),
                "value": now.get(_temperature_label(limit)),
                "limit": limit.upper,
                "unit": "degC",
            }
            for limit in self._temperature_limits
        ]

    def _plan(self, result: DecisionResult) -> dict[str, object]:
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
        heat = {
            _temperature_label(limit): _column(limit.values(replay))
            for limit in self._temperature_limits
        }
        shown = {name: _column(array.to_numpy()) for name, array in columns.items()}
        if self._document is not None:  # as in the document: means that include the ramp
            rows = self._document["intervals"][:DISPLAYED_INTERVALS]
            shown |= {"p10": [r["p10_mw"] for r in rows], "p90": [r["p90_mw"] for r in rows]}
            shown["grid_power"][: len(rows)] = [r["scheduled_mw"] for r in rows]
        return {
            "time": [
                format_second(time) for time in schedule["time"].to_numpy()[:DISPLAYED_INTERVALS]
            ],
            **shown,
            "temperatures": heat,
        }

    def _jobs(self, result: DecisionResult) -> dict[str, object]:
        queue = result.queue
        runs = np.array([n in result.orders.jobs for n in queue.jobs.number.tolist()], dtype=bool)
        late = queue.jobs.deadline < queue.instant
        kinds = []
        for index, kind in enumerate(queue.pool.kinds):
            is_kind = queue.jobs.kind_index == index
            kinds.append(
                {
                    "kind": kind.name,
                    "running": int((is_kind & runs).sum()),
                    "waiting": int((is_kind & ~runs).sum()),
                    "racks": float(queue.jobs.racks[is_kind & runs].sum()),
                }
            )
        return {
            "running": int(runs.sum()),
            "waiting": int((~runs).sum()),
            "late": int(late.sum()),
            "backlog_mwh": round(queue.backlog, DISPLAYED_DECIMALS),
            "kinds": kinds,
        }


def _last_known(result: DecisionResult) -> Row:
    """Return the last reading of the meter and its age at a decision."""
    known = result.estimate
    row = {"grid_power": float(net_import(known.state)), "age_minutes": 60.0 * known.meter_silence}
    return _finite_row(row)


def _temperature_label(limit: limits.OperatingLimit) -> str:
    """Return the label of a limited temperature, such as "facility supply, warm_plant"."""
    label = limit.variable.removesuffix("_temperature").replace("_", " ")
    return f"{label}, {limit.owner}" if limit.owner else label


def _temperature(limit: limits.OperatingLimit, observed: xr.Dataset, replay: xr.Dataset) -> float:
    """Return a temperature as measured, or as simulated where no sensor shows it. [degC]"""
    if limit.variable in observed:
        seen = observed[limit.variable]
        value = float(seen.sel({limit.dimension: limit.owner}) if limit.dimension else seen)
        if np.isfinite(value):
            return value
    return float(limit.values(replay)[0])


def decision_status(result: DecisionResult | None, revision: int) -> Mapping[str, object] | None:
    """Return ``decision`` of the snapshot."""
    if result is None:
        return None
    choice = result.choice
    explanation: Mapping[str, object] = {"accounts": {}, "binding": [], "changes": []}
    if choice.decision is not None:
        explanation = choice.decision.explanation.as_json()
    accounts = explanation["accounts"]
    money = sum(accounts.values()) if isinstance(accounts, dict) else 0.0
    return {
        "time": format_second(result.time),
        "source": choice.source.value,
        "reason": choice.reason,
        "revision": revision,
        "cost_eur": round(money, DISPLAYED_DECIMALS),
        "accounts": accounts,
        "binding": explanation["binding"],
        "changes": explanation["changes"],
        **{
            name: explanation.get(name, [])
            for name in ("softened", "doubtful", "reserves", "units")
        },
        "degraded": explanation.get("degraded", ""),
        **{name: explanation[name] for name in ("hedge",) if name in explanation},
        "seconds": round(result.decision_duration_s, DISPLAYED_DECIMALS),
    }


def failure_status(result: DecisionResult) -> Mapping[str, object] | None:
    """Return ``failures`` of the snapshot: the ride-through time of each single failure."""
    covered = result.choice.verdict.coverage
    if covered is None:
        return None
    return {
        "time": format_second(result.time),
        "least_minutes": covered.required_minutes,
        "exposed": [name for name, _ in covered.violations()],
        "rows": covered.rows(),
        "plan": {
            "time": [format_second(time) for time in covered.time[:DISPLAYED_INTERVALS]],
            "minutes": _column(covered.min_minutes),
            "failure": covered.worst_contingencies[:DISPLAYED_INTERVALS],
        },
    }


def decision_log_fields(result: DecisionResult) -> dict[str, object]:
    """Return the log fields of a decision."""
    first = result.choice.schedule.isel(time=0)
    return {
        "time": format_second(result.time),
        "source": result.choice.source.value,
        "reason": result.choice.reason.partition("\n")[0],
        "power_mw": round(float(net_import(first)), 2),
        "jobs": len(result.orders.jobs),
    }


def hold_status(hold: Hold | None) -> Mapping[str, object] | None:
    """Return ``hold`` of the snapshot, or one of its ``holds``."""
    if hold is None:
        return None
    until = None if hold.until is None else format_second(np.datetime64(round(hold.until), "s"))
    return {
        "number": hold.number,
        "author": hold.author,
        "reason": hold.reason,
        "since": format_second(np.datetime64(round(hold.since), "s")),
        "until": until,
        "is_self_ending": hold.is_self_ending,
    }


def _finite_row(row: Mapping[str, float | None]) -> Row:
    return {name: _number(value) for name, value in row.items()}


def _column(values: np.ndarray | Sequence[float]) -> list[float | None]:
    return [_number(float(value)) for value in list(values)[:DISPLAYED_INTERVALS]]


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, DISPLAYED_DECIMALS)


def next_requests(site: Site, outlook: xr.Dataset, schedule: xr.Dataset) -> list[dict[str, object]]:
    """Return the next target of each partner for the status page; empty without any.

    `outlook` is that of :func:`request_outlook`, `schedule` the one in force. Each row has
    ``partner``, ``power`` requested and largest ``planned`` net import meanwhile [MW], ``begin``
    and ``end`` (ISO 8601), ``is_kept``, and all of it as a text in ``words``.
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
        found.append(
            {
                "partner": partner,
                "power": power,
                "planned": planned,
                "begin": begin,
                "end": end,
                "is_kept": is_kept,
                "words": text,
            }
        )
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
