"""A rack whose name differs, over MQTT: excluded from plans and caps, and reported."""

import json
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from optimizer.service.alarms import rack_name_alarm
from optimizer.service.config import ServiceConfig
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.plant_orders import plant_commands
from telemetry.messages import decode, encode, topics
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import Client
from telemetry.runtime import ClockMode
from tests.support import moments, small_days
from tests.support.environments import environment
from tests.support.waiting import DEADLINE, until
from tests.unit.telemetry.points.test_rack_names import batches, points

RENAMED = [("hall_1-r0003", "hall_1-r0O03")]
APART = ("hall_1-r0003",)


@cache
def usual():
    return moments.pilot().decide(moments.facts())


@cache
def without():
    return moments.pilot().decide(replace(moments.facts(), excluded_racks=APART))


@pytest.fixture
def outcomes():
    """Return the plans with all racks and without one.

    Pyomo replaces ``sum`` in all threads while it reads rules, so no ingester may run then. In a
    service the solver has its own process.
    """
    return usual(), without()


@pytest.fixture
def link(embedded, tmp_path):
    settings = ServiceConfig(
        broker=embedded.url, series_files=small_days.files(), clock_mode=ClockMode.SIMULATED
    )
    with PlantLink(moments.site(), settings, tmp_path, environment=environment(settings)) as link:
        # The broker answers in order, so all subscriptions of the link are active afterwards;
        # messages before that are lost.
        assert link._client.subscribe(topics.METADATA_FILTER, qos=0).wait(DEADLINE)
        yield link


@pytest.fixture
def plant(embedded):
    """Return a client that receives caps and publishes rack names, one of them different."""
    client = Client(embedded.url, client_id="plant", clean_session=True)
    client.connect()
    client.subscribe(topics.topic_filter(TopicKind.CAP_ORDER, site="small")).wait(DEADLINE)
    yield client
    client.stop(0.0)


def caps(plant):
    """Return the received caps by hall."""
    found = {}
    until(
        lambda: (
            found.update(
                {
                    order.hall: order
                    for order in (decode(one.topic, one.payload) for one in plant.poll(10, 0.1))
                }
            )
            or len(found) == 2
        )
    )
    return found


def test_misnamed_rack_gets_no_cap_and_is_excluded(outcomes, link, plant):
    usual, outcome = outcomes
    for sample in [*points(renamed=RENAMED), *batches()]:
        plant.publish(*encode(sample), qos=1).wait(DEADLINE)
    now, period = moments.start(), link.window.repetition_period
    until(
        lambda: (
            "hall_1-r0O03" in str(link.rack_names.describe()) and link.window.counters["batch good"]
        )
    )
    assert link.excluded_racks(now) == ()
    assert link.excluded_racks(now + period) == ()
    later = now + 2 * period
    until(lambda: link.excluded_racks(later) == APART)
    more = outcome.problem.service_racks - usual.problem.service_racks
    assert more == pytest.approx(
        np.ones(len(more))
    )  # one rack fewer for work, counted at full power
    assert outcome.choice.source == usual.choice.source

    link.publish_orders(outcome)
    heard = caps(plant)
    assert heard["hall_1"].excluded_racks == ("r0003",)
    assert heard["hall_2"].excluded_racks == ()
    link.renew_last_caps(outcome.time)
    assert caps(plant)["hall_1"].excluded_racks == ("r0003",)

    text = rack_name_alarm(link, later)
    assert "not acted on, as their names differ: hall_1-r0003: " in text
    assert "the site file does not have: hall_1-r0O03" in text
    assert link.telemetry_status(later).racks_apart == ["hall_1-r0003"]
    record = []
    partners = object.__new__(PartnerLink)
    partners._settings, partners.audit = link_settings(), SimpleNamespace(add=record.append)
    partners.feed = SimpleNamespace(newest_revision=1)
    partners.record_decision(outcome)
    assert "hall_1-r0003" in record[0]["degraded"]
    json.dumps(record)


def test_unknown_racks_raise_the_alarm():
    apart = SimpleNamespace(
        has_no_declared_racks=True, describe=lambda: ["racks that nobody knows: A01"]
    )
    link = SimpleNamespace(rack_names=apart, excluded_racks=lambda _: ())
    text = rack_name_alarm(link, moments.start())
    assert text == "no rack name matches the site file: racks that nobody knows: A01"
    apart.has_no_declared_racks = False
    assert rack_name_alarm(link, moments.start()) == ""


def test_restart_keeps_rack_names_announced_once_a_day(link, plant, tmp_path):
    """Sensitivity: racks whose names the broker does not repeat would differ until tomorrow."""
    for sample in points():
        plant.publish(*encode(sample), qos=1).wait(DEADLINE)
    site = moments.site()
    until(lambda: len(link.rack_names._plant) == site.rack_count)
    link.__exit__()
    with PlantLink(
        site, link_settings(), tmp_path, environment=environment(link_settings())
    ) as again:
        assert len(again.rack_names._plant) == site.rack_count


def link_settings():
    return ServiceConfig(
        broker="mqtt://127.0.0.1:1", series_files=small_days.files(), clock_mode=ClockMode.SIMULATED
    )


def test_other_racks_carry_the_load_of_an_excluded_rack():
    """One of 28 racks is excluded: 27 carry the work, 13 of them in hall_1."""
    site = moments.site()
    commands = plant_commands(site, without())
    assert commands.excluded_racks == {"hall_1": ("r0003",)}
    one, two = commands.hall_caps["hall_1"] / 13, commands.hall_caps["hall_2"] / 14
    assert one == pytest.approx(two)
    assert one <= site.equipment["hall_1"].rack_power
    assert plant_commands(site, usual()).excluded_racks == {}
