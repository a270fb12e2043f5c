"""Load targets of grid partners: from the wire into the problem, and reports of compliance."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem.obligations_and_reserves import REQUESTED_SUFFIX, request_outlook
from optimizer.service.clock import TIME_BEFORE_FIRST_TICK
from optimizer.service.config import ServiceEnvironment
from optimizer.service.decision_engine import DecisionResult
from telemetry.feed.flex_agent import FlexAgent, MeterReader, PlannedLoad, SendNotice
from telemetry.feed.load_targets import IssuerTerms, LoadTargetStore
from telemetry.feed.partners import Partner
from telemetry.feed.signing import SigningKey
from telemetry.mqtt.queues import MessageClient
from telemetry.runtime import ClockMode
from twin import variables
from twin.feasibility.connection import IMPORT_LIMIT_VARIABLE
from twin.markets.contracts import LoadTargetContract
from twin.markets.reserve_products import is_recovering
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.time_axes import QUARTER_HOUR
from twin.variables import net_import


class ReserveState(StrEnum):
    """State of a reserve product that load targets activate."""

    READY = "ready"
    ACTIVATED = "activated"
    RECOVERING = "recovering"


class ReserveEvent(StrEnum):
    """What changes the state of a reserve product."""

    CALL = "call"
    END_OF_CALL = "call ends"
    RECOVERY = "recovery time over"


RESERVE_TRANSITIONS: Final[Mapping[tuple[ReserveState, ReserveEvent], ReserveState]] = {
    (ReserveState.READY, ReserveEvent.CALL): ReserveState.ACTIVATED,
    (ReserveState.ACTIVATED, ReserveEvent.END_OF_CALL): ReserveState.RECOVERING,
    (ReserveState.RECOVERING, ReserveEvent.CALL): ReserveState.ACTIVATED,
    (ReserveState.RECOVERING, ReserveEvent.RECOVERY): ReserveState.READY,
}
"""State and event -> next state; any other event changes nothing."""


class LoadTargetReceiver:
    """Receive load targets for the connection of a site under its contracts.

    Without such a contract nothing is received. ``meter`` returns the measured net import, ``path``
    is the file that stores the targets, and ``notify`` sends a notice to a partner.
    """

    def __init__(
        self,
        site: Site,
        *,
        environment: ServiceEnvironment,
        partners: Iterable[Partner],
        key: SigningKey,
        meter: MeterReader,
        path: Path,
        notify: SendNotice = lambda *_: None,
    ) -> None:
        self._site, self._environment = site, environment
        self._contracts = site.machines_of(LoadTargetContract)
        keys = {partner.name: partner.keys for partner in partners}
        issuers = {c.issuer: keys[c.issuer] for c in self._contracts if c.issuer in keys}
        self._issuers_without_keys = [c.issuer for c in self._contracts if c.issuer not in keys]
        self._targets = LoadTargetStore(
            path,
            feed=site.name,
            max_power=site.grid_connection.import_limit,
            terms={name: self._terms(name) for name in issuers},
        )
        self._agent = FlexAgent(
            self._connect,
            agent=site.name,
            issuers=issuers,
            min_target=max((c.least for c in self._contracts), default=0.0),  # for every issuer
            targets=self._targets,
            meter=meter,
            key=key,
        )
        self._agent.notify = notify
        self._is_active = bool(issuers)
        self._states: dict[str, ReserveState] = {}
        self._ended: dict[str, np.datetime64] = {}

    @property
    def is_connection_firm(self) -> bool:
        """Whether no contract allows curtailment of the connection."""
        return all(contract.effect != "curtailment" for contract in self._contracts)

    def _terms(self, issuer: str) -> IssuerTerms:
        """Return the terms for messages of an issuer: the strictest of its contracts."""
        contracts = [contract for contract in self._contracts if contract.issuer == issuer]
        age = np.timedelta64(round(min(one.max_age for one in contracts)), "s")
        if self._environment.clock.mode is ClockMode.SIMULATED:
            age = max(age, 2 * QUARTER_HOUR)  # its clock moves by whole quarter-hours
        accepts = all(one.accept_unsigned_times for one in contracts)
        return IssuerTerms(max_age=age, accepts_unsigned_times=accepts)

    @property
    def contracts_accepting_unsigned_times(self) -> str:
        """Which contracts admit load targets without signed times; empty if none does."""
        names = [one.name for one in self._contracts if one.accept_unsigned_times]
        text = "load targets without signed times are accepted by "
        return text + ", ".join(names) if names else ""

    @property
    def error(self) -> str:
        """Why targets cannot be received; empty if they can."""
        unknown = ", ".join(self._issuers_without_keys)
        missing = f"no keys of {unknown}, so no load targets of theirs" if unknown else ""
        return "; ".join(text for text in (missing, self._agent.error) if text)

    @property
    def counters(self) -> dict[str, int]:
        """Messages with targets: ``taken``, ``refused``, and ``passed`` of other sites."""
        return dict.fromkeys(("taken", "refused", "passed"), 0) | self._agent.counters

    @contextmanager
    def open(self) -> Iterator[None]:
        """Receive targets, if any partner may send them."""
        if not self._is_active:
            yield
            return
        self._agent.start()
        try:
            yield
        finally:
            self._agent.stop()

    def poll(self, now: np.datetime64) -> list[Mapping[str, object]]:
        """Process received messages, and return their entries for the record.

        Before a simulated clock starts, messages wait, because all would lie in the future.
        """
        return self._agent.poll(now) if self._is_active and now != TIME_BEFORE_FIRST_TICK else []

    def report_compliance(self, result: DecisionResult, now: np.datetime64) -> None:
        """Report the planned load to the partners after a decision, and late targets."""
        if not self._is_active:
            return
        schedule = result.choice.schedule
        planned, starts = net_import(schedule).to_numpy(), schedule["time"].to_numpy()
        load = PlannedLoad(starts=starts, planned_net_import=planned)
        self._agent.publish_state(load, now)
        self._agent.report_late(load, now, ramp=self._site.grid_connection.ramp)

    def requested_outlook(self, axes: xr.Dataset) -> xr.Dataset:
        """Return the targets over the horizon ``axes`` as variables of an outlook.

        ``grid_import_target`` and its price are on (time, contract), and equal the whole connection
        where nothing is requested. ``grid_import_limit`` is what curtailments leave. Both begin a
        quarter-hour before a request, so that its first quarter-hour is met; the variables that end
        in ``_requested`` begin with it. Activations of reserves begin when they are requested.
        ``reserve_called`` is on (time, product) where targets may activate a product. Without a
        contract nothing is returned.
        """
        edges, max_import = axes["instant"].to_numpy(), self._site.grid_connection.import_limit
        limits: list[tuple[FloatArray, FloatArray]] = []
        targets: dict[str, tuple[FloatArray, FloatArray]] = {}
        requested: dict[str, FloatArray] = {}
        called = {name: np.zeros(len(edges) - 1, dtype=bool) for name in self._site.reserves}
        for contract in self._contracts:
            power, is_best = self._targets.limit_by_interval(contract.issuer, edges)
            for name in contract.activates:
                called[name] |= np.isfinite(power) & ~is_best
            turned, is_best = (
                (power, is_best)
                if contract.activates
                else advance_lower_limits(edges, power, is_best)
            )
            is_limit = contract.effect == "curtailment"
            # below 0: export
            floor = (
                contract.least
                if is_limit
                else contract.least or -self._site.grid_connection.export_limit
            )
            both = np.clip(power, floor, max_import), np.clip(turned, floor, max_import)
            if is_limit:
                limits.append(both)
            else:
                requested[contract.name] = both[0]
                targets[contract.name] = both[1], contract.price_above_target(is_best)
        may_call = any(contract.activates for contract in self._contracts)
        calls = {name: self._recovers(name, is_called, edges) for name, is_called in called.items()}
        found = request_outlook(
            axes, targets=targets, activated=calls if may_call else {}, requested=requested
        )
        if limits:
            asked, early = (np.min(rows, axis=0) for rows in zip(*limits, strict=True))
            for name, values in (
                (f"{IMPORT_LIMIT_VARIABLE}{REQUESTED_SUFFIX}", asked),
                (IMPORT_LIMIT_VARIABLE, early),
            ):
                limit = xr.DataArray(values, dims="time")
                found[name] = variables.tag_variable(limit, name)
        return found

    def _recovers(self, product: str, called: BoolArray, edges: np.ndarray) -> BoolArray:
        """Return the intervals in which a product is activated, or recovers from an activation."""
        if called[0]:  # until its first change, unless it ends before
            self._change(product, ReserveEvent.CALL)
            self._ended[product] = edges[1:][np.append(~called[1:], True)][0]
        elif self._states.get(product) is ReserveState.ACTIVATED:
            self._change(product, ReserveEvent.END_OF_CALL)
            self._ended[product] = min(self._ended[product], edges[0])
        ended = self._ended.get(product)
        recovers = is_recovering(self._site.reserves[product], called, edges, last_use_end=ended)
        if not recovers[0]:
            self._change(product, ReserveEvent.RECOVERY)
        return recovers

    def _change(self, product: str, event: ReserveEvent) -> None:
        state = self._states.get(product, ReserveState.READY)
        self._states[product] = RESERVE_TRANSITIONS.get((state, event), state)

    def _connect(self) -> MessageClient:
        return self._environment.connect(f"gigatwin-{self._site.name}-flex", None)


def advance_lower_limits(
    edges: np.ndarray, power: FloatArray, is_best_effort: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """Return limits of net import with which the first quarter-hour of each is met in the mean.

    A plant reaches a set point ten minutes into its quarter-hour, so the quarter-hour before a
    lower limit has the same limit. Longer intervals are left alone: they are planned again as
    quarter-hours. A best-effort limit tightens no firm one.

    - `edges`: of the intervals, UTC.
    - `power`: largest net import in each, infinite without a limit. [MW]
    - `is_best_effort`: whether the limit of each is best effort.
    """
    is_quarter = np.diff(edges[:-1]) <= QUARTER_HOUR
    is_firm = np.isfinite(power[:-1]) & ~is_best_effort[:-1]
    is_moved = is_quarter & (power[1:] < power[:-1]) & ~(is_best_effort[1:] & is_firm)
    early, is_best = power.copy(), is_best_effort.copy()
    early[:-1][is_moved] = power[1:][is_moved]
    is_best[:-1][is_moved] = is_best_effort[1:][is_moved]
    return early, is_best
