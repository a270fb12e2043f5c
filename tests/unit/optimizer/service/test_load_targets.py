"""Load targets in the service: from partner messages to the outlook, and back."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import sites
from optimizer.inputs.series_files import SeriesFiles
from optimizer.model.objective import HARD_OBLIGATION_PENALTY
from optimizer.problem.planning_outlook import QUARTER_HOUR_HORIZON
from optimizer.realtime.intra_interval import metered_means
from optimizer.service.clock import TIME_BEFORE_FIRST_TICK
from optimizer.service.config import ServiceConfig
from optimizer.service.load_target_receiver import (
    LoadTargetReceiver,
    ReserveState,
    advance_lower_limits,
)
from telemetry.feed.flex_agent import PlannedLoad
from telemetry.feed.flex_messages import decode_load_targets, verify_event
from telemetry.feed.signing import public_jwk_set
from telemetry.mqtt.queues import ReceivedMessage
from tests.support import moments
from tests.support.environments import environment
from tests.support.feeds import key, partner
from tests.support.flexing import TOPIC, content, payload, target
from tests.support.reserve_days import product
from twin import time_axes, variables
from twin.markets.contracts import LoadTargetContract
from twin.variables import net_import

NOW = np.datetime64("2026-07-01T12:00", "us")
SITE = sites.load_site("small")  # 4.7 MW
GRID = time_axes.horizon_axes(NOW, QUARTER_HOUR_HORIZON)


def contract(name="tso_1", issuer="tso-1", **changes):
    given = {"name": name, "partner": issuer, "up_price": 300.0, **changes}
    return LoadTargetContract.model_validate(given, context={"canonical": True})


def service(folder, *contracts, known=("tso-1", "dso-1"), where=SITE):
    where = where.with_equipment({**where.equipment, **{one.name: one for one in contracts}})
    return LoadTargetReceiver(
        where,
        environment=environment(
            ServiceConfig(
                broker="mqtt://127.0.0.1:1",
                series_files=SeriesFiles(prices=folder, weather=folder),
            )
        ),
        partners=[partner(name) for name in known],
        key=key("small"),
        meter=lambda _: 3.5,
        path=folder / "targets.json",
    )


def take(service, *targets, by="tso-1", **others):
    topic = TOPIC.replace("tso-1", by)
    message = payload(*targets, by=by, source=f"//grid/v1/isv/{by}", **others)
    event = verify_event(topic, message, issuer=by, keys=public_jwk_set(key(by)))
    found = decode_load_targets(topic, event)
    service._targets.accept(by, found, NOW)


def test_without_a_contract_no_target_is_received(tmp_path):
    plain = service(tmp_path)
    assert not plain.requested_outlook(GRID).data_vars
    assert plain.error == ""
    assert plain.is_connection_firm
    with plain.open():
        assert plain.poll(NOW) == []


def test_without_a_target_the_connection_is_the_limit(tmp_path):
    outlook = service(tmp_path, contract()).requested_outlook(GRID)
    assert outlook["grid_import_target"].dims == ("time", "contract")
    assert set(outlook["grid_import_target"].to_numpy().ravel()) == {4.7}
    assert set(outlook["grid_import_target_price"].to_numpy().ravel()) == {300.0}


def test_targets_are_placed_on_horizon_intervals(tmp_path):
    """Quarter-hours for a day, then hours: half an hour tomorrow covers its whole hour."""
    receiver = service(tmp_path, contract(best_effort_price=20.0))
    take(receiver, target(3.0, start="2026-07-01T14:00:00Z", end="2026-07-01T15:00:00Z"))
    take(
        receiver,
        target(2.5, start="2026-07-02T14:30:00Z", end="2026-07-02T15:00:00Z", best_effort=True),
    )
    outlook = receiver.requested_outlook(GRID).sel(contract="tso_1")
    power, price = outlook["grid_import_target"], outlook["grid_import_target_price"]
    asked = outlook["grid_import_target_requested"]
    afternoon = slice("2026-07-01T13:30", "2026-07-01T15:00")
    assert asked.sel(time=afternoon).values.tolist() == [4.7, 4.7, 3.0, 3.0, 3.0, 3.0, 4.7]
    assert power.sel(time=afternoon).values.tolist() == [4.7, 3.0, 3.0, 3.0, 3.0, 3.0, 4.7]
    assert power.sel(time=slice("2026-07-02T13", "2026-07-02T15")).values.tolist() == [
        4.7, 2.5, 4.7,
    ]  # fmt: skip
    assert float(price.sel(time="2026-07-02T14:00")) == 20.0
    assert float(price.sel(time="2026-07-01T13:45")) == 300.0
    assert float(price.sel(time="2026-07-01T14:00")) == 300.0


HALF_DAY = NOW + 15 * np.timedelta64(1, "m") * np.arange(5)
NO_LIMIT = np.inf


@pytest.mark.parametrize(
    ("power", "best", "early", "early_best"),
    [
        ([NO_LIMIT, NO_LIMIT, 3.0, 3.0], "0000", [NO_LIMIT, 3.0, 3.0, 3.0], "0000"),
        ([NO_LIMIT, 4.0, 3.0, NO_LIMIT], "0000", [4.0, 3.0, 3.0, NO_LIMIT], "0000"),
        ([NO_LIMIT, 3.0, 3.0, 4.0], "0110", [3.0, 3.0, 3.0, 4.0], "1110"),
        ([4.0, 3.0, 3.0, 4.0], "0110", [4.0, 3.0, 3.0, 4.0], "0110"),  # no firm one is tightened
        ([4.0, 3.0, 3.0, 4.0], "1000", [3.0, 3.0, 3.0, 4.0], "0000"),
    ],
)
def test_limit_begins_a_quarter_hour_before_its_target(power, best, early, early_best):
    flags = np.array([one == "1" for one in best])
    found, is_best = advance_lower_limits(HALF_DAY, np.array(power), flags)
    assert found.tolist() == early
    assert "".join("1" if one else "0" for one in is_best.tolist()) == early_best


def test_long_interval_before_a_target_is_left_alone():
    edges = NOW + np.timedelta64(1, "h") * np.arange(3)
    limits = np.array([NO_LIMIT, 3.0])
    assert advance_lower_limits(edges, limits, np.zeros(2, dtype=bool))[0].tolist() == [
        NO_LIMIT,
        3.0,
    ]


def test_activation_of_a_reserve_turns_no_earlier(tmp_path):
    receiver = calling(tmp_path)
    take(receiver, target(3.0, start="2026-07-01T14:00:00Z", end="2026-07-01T15:00:00Z"))
    power = receiver.requested_outlook(GRID)["grid_import_target"].sel(contract="tso_1")
    assert float(power.sel(time="2026-07-01T13:45")) == 4.7


def test_curtailed_connection_turns_earlier_and_shows_the_request(tmp_path):
    receiver = service(tmp_path, contract(effect="curtailment", least=1.0))
    take(receiver, target(3.0, start="2026-07-01T14:00:00Z", end="2026-07-01T15:00:00Z"))
    outlook = receiver.requested_outlook(GRID)
    variables.check_variables(outlook, "grid_import_limit_requested")
    assert float(outlook["grid_import_limit"].sel(time="2026-07-01T13:45")) == 3.0
    assert float(outlook["grid_import_limit_requested"].sel(time="2026-07-01T13:45")) == 4.7


def test_plan_meets_the_first_quarter_hour_of_a_target(tmp_path):
    """Proves: the mean that a meter shows in the first quarter-hour is within the target.

    Sensitivity: the plan turned with the target, and the mean was a third of the step above it.
    """
    start = moments.facts().queue.instant
    receiver = service(tmp_path, contract(up_price=5000.0), where=moments.site())
    free = moments.pilot().decide(moments.facts()).choice.schedule
    begin = start + np.timedelta64(2, "h")
    usual = float(net_import(free).sel(time=begin, method="pad"))
    wanted, end = round(0.8 * usual, 3), begin + np.timedelta64(1, "h")
    requested = target(wanted, start=f"{begin}Z", end=f"{end}Z")
    message = payload(requested, at=f"{start}Z".replace(".000000", ""))
    keys = public_jwk_set(key("tso-1"))
    found = decode_load_targets(TOPIC, verify_event(TOPIC, message, issuer="tso-1", keys=keys))
    receiver._targets.accept("tso-1", found, start)
    facts = replace(moments.facts(), requests=receiver.requested_outlook)
    plan = moments.pilot(where=receiver._site).decide(facts).choice.schedule
    times, planned = plan["time"].to_numpy(), net_import(plan).to_numpy()
    means = metered_means(planned, before=planned[0])
    first = int(np.searchsorted(times, begin))
    assert times[first] == begin
    assert means[first] <= wanted + 1e-3


def test_target_below_the_contract_minimum_is_raised(tmp_path):
    receiver = service(tmp_path, contract(least=2.0))
    take(receiver, target(500.0, "kilowatt"))
    assert float(receiver.requested_outlook(GRID)["grid_import_target"][0, 0]) == 2.0


def test_each_effect_is_described(tmp_path):
    receiver = service(
        tmp_path,
        contract(effect="hard"),
        contract("dso_1", "dso-1", effect="curtailment", least=1.0),
    )
    assert not receiver.is_connection_firm
    take(receiver, target(4.0))
    take(receiver, target(3.0), by="dso-1")
    outlook = receiver.requested_outlook(GRID)
    assert outlook["contract"].values.tolist() == ["tso_1"]
    assert float(outlook["grid_import_target"][0, 0]) == 4.0
    assert np.isinf(outlook["grid_import_target_price"].values).all()
    assert set(outlook["grid_import_limit"].values) == {3.0}
    assert HARD_OBLIGATION_PENALTY["net_import"] > 1e4  # higher than any market price


def test_partner_without_keys_is_reported(tmp_path):
    assert "no keys of dso-9" in service(tmp_path, contract("dso", "dso-9")).error


def test_contract_sets_age_and_signed_times(tmp_path):
    """Proves: of two contracts of an issuer the stricter terms apply."""
    both = service(
        tmp_path,
        contract(max_age=60.0, accept_unsigned_times=True),
        contract("tso_2", accept_unsigned_times=True),
        contract("dso_1", "dso-1", accept_unsigned_times=True),
        contract("dso_2", "dso-1"),
    )
    terms = both._targets.terms
    minute = np.timedelta64(60, "s")
    assert (terms["tso-1"].max_age, terms["tso-1"].accepts_unsigned_times) == (minute, True)
    assert (terms["dso-1"].max_age, terms["dso-1"].accepts_unsigned_times) == (5 * minute, False)


def test_contract_without_signed_times_is_named_for_the_alarm(tmp_path):
    assert service(tmp_path, contract()).contracts_accepting_unsigned_times == ""
    assert (
        "tso_1"
        in service(
            tmp_path, contract(accept_unsigned_times=True)
        ).contracts_accepting_unsigned_times
    )


class Wire:
    """A client that keeps all messages."""

    def __init__(self):
        self.sent, self.incoming = [], []

    def start(self):
        pass

    def stop(self, timeout):
        pass

    def subscribe(self, *filters, qos):
        self.filters = filters

    def publish(self, topic, payload, *, qos):
        self.sent.append((topic, json.loads(payload)))

    def poll(self, limit, timeout):
        taken, self.incoming = self.incoming, []
        return taken

    def acknowledge(self, messages):
        pass


@pytest.mark.parametrize(("planned", "is_compliant"), [(3.0, True), (3.1, False)])
def test_decision_is_reported_to_requesting_partners(tmp_path, monkeypatch, planned, is_compliant):
    receiver, wire = service(tmp_path, contract()), Wire()
    monkeypatch.setattr(receiver._agent, "_connect", lambda: wire)
    take(receiver, target(3.0))
    plan = xr.Dataset(
        {"grid_import_power": ("time", [planned, 4.0]), "grid_export_power": ("time", [0.0, 0.0])},
        coords={"time": NOW + np.array([0, 15], "m8[m]")},
    )
    outcome = SimpleNamespace(choice=SimpleNamespace(schedule=plan))
    with receiver.open():
        receiver.report_compliance(outcome, NOW)
    assert wire.filters == (TOPIC,)
    (_, confirmed), (topic, event) = wire.sent
    assert content(confirmed["data"])["feeds"]["small"]["event"] == "target_set"
    assert topic == "grid/v1/dsx-flex-agent/small/powerstate/status"
    feed = content(event["data"])["feeds"]["small"]
    assert feed["calculated_load"]["value"] == planned
    assert feed["compliant"] == is_compliant
    assert feed["event"] == "start_ramp_down"


def test_targets_before_the_simulated_start_wait(tmp_path, monkeypatch):
    """Proves: a target received between restart and first tick is accepted at the tick.

    Sensitivity: it was refused as "made in the future" of the year 2000.
    """
    receiver, wire = service(tmp_path, contract()), Wire()
    monkeypatch.setattr(receiver._agent, "_connect", lambda: wire)
    wire.incoming = [ReceivedMessage(topic=TOPIC, payload=payload(target(3.0)), qos=1)]
    with receiver.open():
        assert receiver.poll(TIME_BEFORE_FIRST_TICK) == []
        (event,) = receiver.poll(NOW)
    assert event["event"] == "load_target"


def test_published_minimum_applies_to_every_partner(tmp_path, monkeypatch):
    """Proves: contracts with 2 MW and without a minimum publish 2 MW, also for tso-1.

    Sensitivity: 0 MW, and a target of 1 MW that is confirmed and met with 2 MW.
    """
    firm = contract(least=2.0)
    receiver, wire = service(tmp_path, firm, contract("dso_1", "dso-1")), Wire()
    monkeypatch.setattr(receiver._agent, "_connect", lambda: wire)
    with receiver.open():
        load = PlannedLoad(starts=np.array([NOW]), planned_net_import=np.array([3.0]))
        receiver._agent.publish_state(load, NOW)
    ((_, event),) = wire.sent
    metadata = content(event["data"])["feeds"]["small"]["metadata"]
    assert metadata["power_minimum"]["value"] == 2.0


def calling(folder, **changes):
    """Return the receiver of a contract that activates mFRR; the site sells mFRR and FCR."""
    products = {name: product(name) for name in ("fcr", "mfrr")}
    where = SITE.model_copy(update={"reserves": products})
    return service(folder, contract(activates=("mfrr",), **changes), where=where)


def active_intervals(receiver, name="mfrr", *, grid=GRID):
    """Return the intervals in which a product is activated or recovers."""
    outlook = receiver.requested_outlook(grid)
    variables.check_variables(outlook, "reserve_called")
    return outlook["reserve_called"].sel(product=name).to_numpy()


def test_target_activates_its_reserve_until_recovery(tmp_path):
    """From 14:00 to 15:00, and two hours of recovery."""
    receiver = calling(tmp_path)
    assert not active_intervals(receiver).any()
    take(receiver, target(3.0, start="2026-07-01T14:00:00Z", end="2026-07-01T15:00:00Z"))
    assert active_intervals(receiver).tolist() == [0.0] * 8 + [1.0] * 12 + [0.0] * (
        len(GRID["time"]) - 20
    )
    assert not active_intervals(receiver, "fcr").any()


def test_activated_reserve_recovers_after_its_target_ends(tmp_path):
    """Withdrawn at 12:30: it recovers until 14:30, seen from then and from 13:00."""
    receiver = calling(tmp_path)
    take(receiver, target(3.0, end="2026-07-01T16:00:00Z"))
    assert active_intervals(receiver)[:24].all()
    assert receiver._states["mfrr"] is ReserveState.ACTIVATED
    take(receiver, target(None, start="2026-07-01T12:30:00Z"), at="2026-07-01T12:01:00Z")
    after = ReserveState.RECOVERING
    for minutes, left, state in ((30, 8, after), (60, 6, after), (150, 0, ReserveState.READY)):
        grid = time_axes.horizon_axes(NOW + np.timedelta64(minutes, "m"), QUARTER_HOUR_HORIZON)
        assert active_intervals(receiver, grid=grid).sum() == left
        assert receiver._states["mfrr"] is state


def test_best_effort_target_activates_nothing(tmp_path):
    receiver = calling(tmp_path)
    take(receiver, target(3.0, end="2026-07-01T15:00:00Z", best_effort=True))
    assert not active_intervals(receiver).any()


def test_contract_without_activation_mentions_none(tmp_path):
    assert "reserve_called" not in service(tmp_path, contract()).requested_outlook(GRID)
