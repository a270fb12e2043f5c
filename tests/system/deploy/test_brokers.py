"""The brokers of ``deploy/`` grant users exactly their permissions."""

import json
import socket
import subprocess
from urllib.parse import quote

import pytest

from optimizer.inputs.series_files import SeriesFiles
from optimizer.service.config import ServiceConfig
from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import Client
from tests.support.clients import LONG, taken, until_told
from tests.support.waiting import until
from tests.system.deploy import stands
from twin.errors import BrokerError

pytestmark = pytest.mark.slow

QUIET = 0.5  # silence after which nothing more is on its way
NAMES = {"site": "small", "hall": "hall_1", "rack": "r-001", "partner": "gridco"}
TAG = "CDU/Status/small/cdu-1"
SERVICE, PLANT, PARTNER, OTHER = "gigatwin-small", "plant-small", "gridco", "otherco"
NODES = "nodes-small-hall_1"


def of_site(kind, **names):
    wanted = NAMES | names
    pattern = topics.TOPIC_PATTERNS[kind]
    return topics.build_topic(
        kind, **{key: wanted[key] for key in wanted if f"{{{key}}}" in pattern}
    )


def of_hall(hall, *kinds):
    return {of_site(kind, hall=hall) for kind in kinds}


FROM_HALL = (
    TopicKind.RACK_BATCH,
    TopicKind.RACK_BATCH_JSON,
    TopicKind.SENDER_REPORT,
    TopicKind.CAP_STATUS,
)
TO_HALL = TopicKind.SELECTIVE_ACK, TopicKind.CAP_ORDER
RACKS = of_hall("hall_1", *FROM_HALL) | of_hall("hall_2", *FROM_HALL)
TO_HALLS = of_hall("hall_1", *TO_HALL) | of_hall("hall_2", *TO_HALL)
JOBS = {
    of_site(kind)
    for kind in (
        TopicKind.JOB_QUEUE,
        TopicKind.JOB_HISTORY,
        TopicKind.JOB_ANNOUNCEMENTS,
        TopicKind.JOB_STATUS,
    )
}
POINTS = {topics.value_topic(TAG), topics.metadata_topic(TAG)}
REQUESTS = {topics.value_topic(TAG, "GIGATWIN")}
CAPS, ORDERS = {of_site(TopicKind.CAP_ORDER)}, {of_site(TopicKind.JOB_ORDERS)}
TICK, DECIDED = {of_site(TopicKind.TICK)}, {of_site(TopicKind.DECISION)}


def feed(partner, *kinds):
    return {of_site(kind, partner=partner) for kind in kinds}


def partner_topics(partner):
    """Return the topics that a service publishes to a partner, and those that it receives."""
    sent = (
        TopicKind.SCHEDULE,
        TopicKind.FEED_STATUS,
        TopicKind.ACTUAL,
        TopicKind.RESENT,
        TopicKind.NOTICE,
    )
    received = TopicKind.ACKNOWLEDGEMENT, TopicKind.REQUEST
    return feed(partner, *sent), feed(partner, *received)


OUT, BACK = partner_topics(PARTNER)
TARGETS, STATES = {of_site(TopicKind.LOAD_TARGET)}, {of_site(TopicKind.POWER_STATE)}
WRITES = {
    SERVICE: REQUESTS | TO_HALLS | ORDERS | DECIDED | OUT | STATES,
    "bms-small": POINTS,
    "nodes-small-hall_1": of_hall("hall_1", *FROM_HALL),
    "nodes-small-hall_2": of_hall("hall_2", *FROM_HALL),
    "cluster-small": JOBS,
    PLANT: POINTS | RACKS | JOBS | TICK,
    PARTNER: BACK | TARGETS,
    OTHER: set(),
}
READS = {
    SERVICE: POINTS | RACKS | JOBS | TICK | BACK | TARGETS,
    "bms-small": REQUESTS,
    "nodes-small-hall_1": of_hall("hall_1", *TO_HALL),
    "nodes-small-hall_2": of_hall("hall_2", *TO_HALL),
    "cluster-small": ORDERS,
    PLANT: REQUESTS | TO_HALLS | ORDERS | DECIDED,
    PARTNER: OUT | BACK | STATES,
    OTHER: set(),
}
SCHEDULE = of_site(TopicKind.SCHEDULE)
TOPICS = sorted(set().union(*WRITES.values()))


@pytest.fixture
def mosquitto(tmp_path, certificates):
    yield from running(stands.mosquitto(tmp_path, certificates))


@pytest.fixture
def nats(tmp_path, certificates):
    yield from running(stands.nats(tmp_path, certificates))


@pytest.fixture(params=["mosquitto", "nats"])
def stand(request):
    return request.getfixturevalue(request.param)


def running(stand):
    stand.broker.start()
    yield stand
    stand.close()


def received(client, count=1):
    """Return all messages, at least a number of them, until no more come."""
    messages = taken(client, count)
    while more := client.poll(timeout=QUIET):
        client.acknowledge(more)
        messages += more
    return messages


def test_users_have_exactly_their_permissions(stand):
    clients = {user: stand.connected(user) for user in stands.USERS}
    for user in stands.USERS:
        for topic in TOPICS:
            is_granted = clients[user].subscribe(topic).wait(LONG)
            assert is_granted or topic not in READS[user]
    for topic in TOPICS:
        for user in stands.USERS:
            is_taken = clients[user].publish(topic, user.encode(), qos=1).wait(LONG)
            assert is_taken or topic not in WRITES[user], (user, topic)
    for user in stands.USERS:
        wanted = {(writer, topic) for writer in WRITES for topic in WRITES[writer] & READS[user]}
        messages = received(clients[user], len(wanted))
        assert {(message.payload.decode(), message.topic) for message in messages} == wanted, user


@pytest.mark.parametrize("make", [stands.mosquitto, stands.nats])
def test_installed_files_admit_no_simulated_facility(make, tmp_path, certificates):
    """Proves: a certificate named after the simulated facility gives no right on a real broker.

    Sensitivity: the installed files contained its block, to be deleted by hand.
    """
    for stand in running(make(tmp_path, certificates, is_trial=False)):
        service, nodes = stand.connected(SERVICE), stand.connected(NODES)
        heard = sorted(READS[SERVICE])
        assert service.subscribe(*heard).wait(LONG)
        plant = stand.client(PLANT)
        plant.start()
        sent = [plant.publish(topic, b"forged", qos=1) for topic in sorted(WRITES[PLANT])]
        sent[-1].wait(QUIET)
        publish(nodes, of_site(TopicKind.RACK_BATCH), b"true", retain=False)
        assert [message.payload for message in received(service)] == [b"true"]


def test_joint_subscriptions_are_granted(stand):
    assert stand.connected(SERVICE).subscribe(*topics.service_filters("small")).wait(LONG)
    assert stand.connected(PARTNER).subscribe("feed/v1/gridco/#").wait(LONG)


def test_partner_cannot_receive_another_schedule(stand):
    publish(stand.connected(SERVICE), SCHEDULE, b"ours")
    for number, heard_by in enumerate(("#", "feed/#", "feed/v1/+/small/schedule", SCHEDULE)):
        spy = stand.connected(OTHER, client_id=f"spy-{number}")
        spy.subscribe(heard_by).wait(LONG)
        assert not received(spy, 0)


def test_certificate_without_a_known_name_is_refused(stand, tmp_path):
    until_told(stand.client("", client_id="nobody"), "closed the connection")
    foreign = stands.make_certificates(tmp_path / "foreign", SERVICE)
    (foreign / "ca.crt").write_bytes((stand.certificates / "ca.crt").read_bytes())
    stand.certificates = foreign
    until_told(stand.client(SERVICE), r"closed the connection|certificate|unknown ca")


def test_user_in_the_url_does_not_override_certificate(stand):
    thief = f"CN={SERVICE}", SERVICE
    for number, name in enumerate(thief):
        url = stand.url.replace("//", f"//{name}:word@")
        client = Client(url, client_id=f"thief-{number}", tls=stand.tls(OTHER))
        client.start()
        client.publish(SCHEDULE, b"forged", qos=1, retain=True).wait(QUIET)
        client.stop(0.0)
    partner = stand.connected(PARTNER)
    partner.subscribe(SCHEDULE).wait(LONG)
    assert not received(partner, 0)


def test_loopback_requires_a_password(mosquitto):
    password = quote(stands.PASSWORD)
    for name in ("", f"{PLANT}:wrong@", "nobody:@"):
        with pytest.raises(BrokerError, match="authori"):
            mosquitto.connected(PLANT, url=f"mqtt://{name}127.0.0.1:{mosquitto.plain}")
    url = f"mqtt://{PLANT}:{password}@127.0.0.1:{mosquitto.plain}"
    plant = mosquitto.connected(PLANT, url=url)
    assert plant.subscribe(*CAPS).wait(LONG)


def test_nats_loopback_refuses_certificate_users(nats):
    with socket.create_connection(("127.0.0.1", nats.plain), timeout=LONG) as plain:
        plain.recv(4096)
        options = {"user": f"CN={SERVICE}", "pass": "", "verbose": True}
        plain.sendall(f"CONNECT {json.dumps(options)}\r\nPING\r\n".encode())
        assert b"Authorization Violation" in plain.recv(4096)


def test_mosquitto_refuses_a_too_large_payload(mosquitto):
    assert not dropped(mosquitto)


def test_service_drops_too_large_payload_of_nats(nats):
    assert dropped(nats) == ((of_site(TopicKind.RACK_BATCH), 300_000),)


def test_nats_disconnects_publishers_of_qos_2(nats):
    """Sensitivity: such values were archived under names of other points, too."""
    service = nats.connected(SERVICE)
    (topic, *_) = sorted(POINTS)
    service.subscribe(topic).wait(LONG)
    bms = nats.tls("bms-small")
    command = ["mosquitto_pub", "-p", str(nats.broker.port), "-t", topic, "-q", "2", "-m", "x"]
    command += ["--cafile", bms.ca, "--cert", bms.certificate, "--key", bms.key]
    assert subprocess.run(command, check=False, timeout=LONG, capture_output=True).returncode
    assert service.poll(timeout=QUIET) == []


def dropped(stand):
    """Return the number of too large payloads that the service dropped."""
    service = stand.connected(SERVICE)
    topic = of_site(TopicKind.RACK_BATCH)
    service.subscribe(topic).wait(LONG)
    own = stand.tls(NODES)
    command = ["mosquitto_pub", "-p", str(stand.broker.port), "-t", topic, "-q", "1", "-s"]
    command += ["--cafile", own.ca, "--cert", own.certificate, "--key", own.key]
    subprocess.run(command, input=bytes(300_000), check=False, timeout=LONG, capture_output=True)
    largest = bytes(2**18)
    publish(stand.connected(NODES), topic, largest, retain=False)
    assert [message.payload for message in received(service)] == [largest]
    return service.oversized_messages


def test_retained_and_queued_messages_survive_a_restart(stand):
    survives(stand, stand.broker.stop)


def test_nats_keeps_messages_when_killed(nats):
    survives(nats, nats.broker.kill)


def survives(stand, end):
    plant, order = stand.connected(PLANT), next(iter(ORDERS))
    plant.subscribe(order).wait(LONG)
    plant.stop()
    service = stand.connected(SERVICE)
    publish(service, order, b"run", retain=False)
    publish(service, SCHEDULE, b"revision 1")
    service.stop()
    end()
    stand.broker.start()
    assert [message.payload for message in received(stand.connected(PLANT))] == [b"run"]
    partner = stand.connected(PARTNER)
    partner.subscribe(SCHEDULE).wait(LONG)
    assert [message.payload for message in received(partner)] == [b"revision 1"]


def publish(client, topic, payload, *, retain=True):
    assert client.publish(topic, payload, qos=1, retain=retain).wait(LONG)


def test_no_other_certificate_disconnects_the_service(stand, tmp_path):
    """Proves: a client id that others do not know cannot be taken, on either broker.

    Sensitivity: a client with the id gigatwin-small disconnected the service; the last lines
    show that both brokers do so for an id that is known.
    """
    config = ServiceConfig(
        broker=stand.url,
        series_files=SeriesFiles(prices=tmp_path, weather=tmp_path),
        tls=stand.tls(SERVICE),
        client_suffix="0123456789abcdef",
    )
    service = config.create_client(SERVICE)
    stand.clients.append(service)
    service.connect(LONG)
    queue = of_site(TopicKind.JOB_QUEUE)
    assert service.subscribe(queue).wait(LONG)
    for thief in ("", "-"):
        stand.connected(OTHER, client_id=f"{SERVICE}{thief}").stop()
    publish(stand.connected(PLANT), queue, b"jobs", retain=False)
    assert [message.payload for message in received(service)] == [b"jobs"]
    assert service.counters["connections"] == 1
    stand.connected(OTHER, client_id=f"{SERVICE}-0123456789abcdef").stop()
    until(lambda: service.counters["connections"] > 1)


def test_stolen_client_id_receives_nothing(stand):
    service, queue = stand.connected(SERVICE), of_site(TopicKind.JOB_QUEUE)
    service.subscribe(queue).wait(LONG)
    service.stop()
    publish(stand.connected(PLANT), queue, b"jobs", retain=False)
    thief = stand.connected(OTHER, client_id=SERVICE)
    assert not received(thief, 0)
