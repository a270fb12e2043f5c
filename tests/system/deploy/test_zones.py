"""A broker for partners in a zone of its own: only feed and targets pass the bridge to it."""

import re
import shutil
import subprocess

import pytest

from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from tests.support.brokers import Broker
from tests.support.clients import LONG, taken, until_told
from tests.support.waiting import DEADLINE, until
from tests.system.deploy import stands

pytestmark = pytest.mark.slow

SERVICE, BRIDGE, PARTNER, INTRUDER = "gigatwin-small", "bridge-small", "gridco", "intruder"
FOR_BRIDGE = f"\nuser {BRIDGE}\ntopic readwrite #\n"
FOR_INTRUDERS = f"\nuser {INTRUDER}\ntopic readwrite #\n"
"""Blocks for tests only: the other broker is to be safe even if one has been taken over."""

NAMES = {"site": "small", "hall": "hall_1", "rack": "r0001", "partner": PARTNER}
ALL = {
    kind: topics.build_topic(
        kind, **{name: NAMES[name] for name in NAMES if f"{{{name}}}" in pattern}
    )
    for kind, pattern in topics.TOPIC_PATTERNS.items()
}
POINTS = {
    topics.value_topic("CDU/Status/small/cdu-1"),
    topics.value_topic("CDU/Status/small/cdu-1", "GIGATWIN"),
}
OUTWARDS = {
    ALL[kind]
    for kind in (
        TopicKind.SCHEDULE,
        TopicKind.FEED_STATUS,
        TopicKind.ACTUAL,
        TopicKind.RESENT,
        TopicKind.NOTICE,
        TopicKind.POWER_STATE,
    )
}
INWARDS = {
    ALL[kind] for kind in (TopicKind.ACKNOWLEDGEMENT, TopicKind.REQUEST, TopicKind.LOAD_TARGET)
}


class Zones:
    """The brokers of facility and zone, and the bridge, each with its files of ``deploy/``."""

    def __init__(self, folder, certificates, *, opened):
        for name in ("plant", "zone", "bridge"):
            (folder / name).mkdir()
        names = BRIDGE, PARTNER, INTRUDER
        authority = stands.make_certificates(folder / "authority", *names)
        stands.make_certificates(certificates, BRIDGE, INTRUDER)  # no user of other tests
        self.plant = stands.mosquitto(folder / "plant", certificates, is_trial=False)
        self.zone = self._zone(folder / "zone", authority)
        self._opened = opened
        added = FOR_INTRUDERS + FOR_BRIDGE * (opened == "lists")
        for name in ("plant", "zone"):
            with (folder / name / "acl").open("a") as file:
                file.write(added)
        self._config = self._bridge(folder / "bridge", certificates, authority)
        self.log = folder / "bridge" / "log"
        self._process = None

    def _zone(self, folder, authority):
        own = stands.DEPLOY / "mosquitto" / "dmz"
        (folder / "acl").write_text((own / "acl").read_text())
        (folder / "certs").symlink_to(authority)
        places = {
            "/etc/mosquitto": str(folder),
            "/var/lib/mosquitto/": "{folder}/",
            "listener 8883": "listener {port} 127.0.0.1",
        }
        text = stands.filled(own / "mosquitto.conf", places) + "user root\n"
        return stands.Stand(Broker("mosquitto", text, folder), authority, 0)

    def _bridge(self, folder, certificates, authority):
        own = stands.DEPLOY / "mosquitto" / "dmz" / "bridge.conf"
        places = {
            "/run/mosquitto": str(folder),
            "/var/lib/mosquitto-bridge": str(folder),
            "broker.plant:8883": f"127.0.0.1:{self.plant.broker.port}",
            "broker.dmz:8883": f"127.0.0.1:{self.zone.broker.port}",
            "SECRET": "0123456789abcdef",
        }
        for side, files in (("plant", certificates), ("dmz", authority)):
            for name, file in ((f"{side}-ca.crt", "ca.crt"), (f"{side}.crt", f"{BRIDGE}.crt")):
                places[f"/etc/mosquitto/bridge/{name}"] = str(files / file)
            places[f"/etc/mosquitto/bridge/{side}.key"] = str(files / f"{BRIDGE}.key")
        text = stands.filled(own, places) + "user root\n"
        if self._opened == "bridge":
            text = re.sub(r"(topic .* 1\n)+", "topic # both 1\n", text)
            assert text.count("topic # both") == 2
        (folder / "config").write_text(text)
        return folder / "config"

    def start(self):
        self.plant.broker.start()
        self.zone.broker.start()
        with self.log.open("ab") as log:
            command = [self.plant.broker.binary, "-c", self._config]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def mixed_certificates(self):
        """Return a folder with certificates of the zone and the authority of the facility."""
        folder = self._config.parent / "mixed"
        shutil.copytree(self.zone.certificates, folder)
        shutil.copy(self.plant.certificates / "ca.crt", folder / "ca.crt")
        return folder

    def close(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
        self.plant.close()
        self.zone.close()


@pytest.fixture
def zones(request, tmp_path, certificates):
    zones = Zones(tmp_path, certificates, opened=getattr(request, "param", "nothing"))
    zones.start()
    yield zones
    zones.close()


def crossing(source, target, expected, sent):
    """Publish topics on one broker with all rights; return those that arrive at the other."""
    listener = target.connected(INTRUDER, client_id="listener")
    assert listener.subscribe("#").wait(LONG)
    client = source.connected(INTRUDER, client_id="source")

    def is_bridged():  # the bridge may still be starting
        client.publish(next(iter(expected)), b"probe", qos=1).wait(LONG)
        return listener.poll(timeout=0.5)

    until(is_bridged, pause=0.1)
    for topic in sorted(sent):
        assert client.publish(topic, b"sent", qos=1).wait(LONG), topic
    last = max(expected)
    assert client.publish(last, b"last", qos=1).wait(LONG)
    found = []
    until(
        lambda: found.extend(listener.poll(timeout=0.5)) or any(m.payload == b"last" for m in found)
    )
    return {message.topic for message in found if message.payload == b"sent"}


@pytest.mark.parametrize("zones", ["nothing", "bridge", "lists"], indirect=True)
def test_only_feed_and_targets_pass(zones):
    """Proves: a broker that has been taken over reaches no other topic beyond the bridge.

    The topics of the bridge and the access lists are each enough: the other is opened in turn.
    """
    every = set(ALL.values()) | POINTS
    assert every > OUTWARDS | INWARDS
    assert crossing(zones.plant, zones.zone, OUTWARDS, every) == OUTWARDS
    assert crossing(zones.zone, zones.plant, INWARDS, every) == INWARDS


def test_partner_is_served_in_the_zone_only(zones):
    """Proves: schedules and answers pass by the rights of the users who have them.

    A schedule that was published before the zone's broker ran is retained there.
    """
    zones.zone.broker.stop()
    service = zones.plant.connected(SERVICE)
    assert service.subscribe(*INWARDS).wait(LONG)
    schedule = ALL[TopicKind.SCHEDULE]
    assert service.publish(schedule, b"revision 1", qos=1, retain=True).wait(LONG)
    zones.zone.broker.start()
    partner = zones.zone.connected(PARTNER)
    assert partner.subscribe(schedule).wait(LONG)
    assert {message.payload for message in taken(partner, 1)} == {b"revision 1"}  # may come twice
    late = zones.zone.connected(PARTNER, client_id="late")
    assert late.subscribe(schedule).wait(LONG)
    assert {message.payload for message in taken(late, 1)} == {b"revision 1"}
    for topic in sorted(INWARDS):
        assert partner.publish(topic, b"answer", qos=1).wait(LONG)
    assert {message.topic for message in taken(service, len(INWARDS))} == INWARDS


def test_certificate_of_the_zone_is_refused_by_the_facility(zones):
    """Proves: the zone has an authority of its own, whose certificates open no other broker."""
    zones.plant.certificates = zones.mixed_certificates()
    until_told(zones.plant.client(PARTNER), r"closed the connection|certificate|unknown ca")
