"""The brokers of ``deploy/`` with their own files; only ports and folders are filled in."""

import subprocess

from telemetry.mqtt.broker import TlsFiles
from telemetry.mqtt.client import Client
from tests.conftest import ROOT
from tests.support.brokers import Broker, free_port
from tests.support.waiting import DEADLINE

DEPLOY = ROOT / "deploy"
USERS = (
    "gigatwin-small",
    "bms-small",
    "nodes-small-hall_1",
    "nodes-small-hall_2",
    "cluster-small",
    "plant-small",
    "gridco",
    "otherco",
)
PASSWORD = "a word: for @ trial"
SIMULATED_FACILITY = """
        {{
            user: "CN=plant-small", allowed_connection_types: ["MQTT"]
            permissions {{
                publish: [
                    "BMS.v1.PUB.>", "dc.v1.small.*.*.tele", "dc.v1.small.*.*.tele.json",
                    "dc.v1.small.*.*.tele.held", "dc.v1.small.*.cap.status",
                    "dc.v1.small.jobs.queue", "dc.v1.small.jobs.history",
                    "dc.v1.small.jobs.announced", "dc.v1.small.jobs.status", "sim.v1.small.clock"
                ]
                subscribe: [
                    "BMS.v1.GIGATWIN.>", "dc.v1.small.*.cap.set", "dc.v1.small.jobs.set",
                    "dc.v1.small.*.*.tele.durable", "sim.v1.small.decided", "$MQTT.sub.>"
                ]
            }}
        }}
"""
"""What ``deploy/mosquitto/acl-trial`` is for Mosquitto; a site that runs NATS has no such user."""


def make_certificates(folder, *names):
    """Run the script as an operator does."""
    command = [DEPLOY / "make-certificates.sh", folder, *names]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


def filled(path, places):
    """Return the text of a file with replaced values; each must occur in it."""
    text = path.read_text().replace("{", "{{").replace("}", "}}")
    for place, value in places.items():
        assert place in text, f"{place} is not in {path}"
        text = text.replace(place, value)
    return text


class Stand:
    """A broker of ``deploy/`` and the certificates of all users.

    ``plain`` is the loopback port without certificates.
    """

    def __init__(self, broker, certificates, plain):
        self.broker, self.certificates, self.plain = broker, certificates, plain
        self.url = f"mqtts://127.0.0.1:{broker.port}"
        self.clients = []

    def tls(self, user):
        """Return the certificates of a user; without a user only the trusted authority."""
        own = {}
        if user:
            own = {
                "certificate": self.certificates / f"{user}.crt",
                "key": self.certificates / f"{user}.key",
            }
        return TlsFiles(ca=self.certificates / "ca.crt", **own)

    def client(self, user, *, client_id=None, url=None):
        """Return a client, which ends with the test; with a URL it has no certificate."""
        tls = None if url else self.tls(user)
        self.clients.append(Client(url or self.url, client_id=client_id or user, tls=tls))
        return self.clients[-1]

    def connected(self, user, **words):
        """Return a connected client."""
        made = self.client(user, **words)
        made.connect(DEADLINE)
        return made

    def close(self):
        for client in self.clients:
            client.stop(timeout=0.0)
        self.broker.stop()


def mosquitto(folder, certificates, *, is_trial=True):
    """Return Mosquitto by ``deploy/mosquitto`` with a second hall; a trial simulates a facility."""
    plain = free_port()
    text = (DEPLOY / "mosquitto" / "acl").read_text()
    text += text[text.index("# The agents of hall_1") :].replace("hall_1", "hall_2")
    if is_trial:
        text += (DEPLOY / "mosquitto" / "acl-trial").read_text()
    (folder / "acl").write_text(text)
    (folder / "certs").symlink_to(certificates)
    made = ["mosquitto_passwd", "-b", "-c", folder / "passwords", "plant-small", PASSWORD]
    subprocess.run(made, check=True, capture_output=True)
    places = {
        "/etc/mosquitto": str(folder),
        "/var/lib/mosquitto/": "{folder}/",
        "listener 1883 127.0.0.1": f"listener {plain} 127.0.0.1",
        "listener 8883": "listener {port} 127.0.0.1",
    }
    text = filled(DEPLOY / "mosquitto" / "mosquitto.conf", places)
    text += "user root\n"  # started as root it would go on as one who cannot read the folder
    return Stand(Broker("mosquitto", text, folder), certificates, plain)


def nats(folder, certificates, *, is_trial=True):
    """Return NATS by ``deploy/nats`` with a second hall and partner; a trial simulates a facility.

    They get blocks as the first ones have.
    """
    plain = free_port()
    places = {
        "/etc/nats/certs": str(certificates),
        "/var/lib/nats": '"{folder}"',
        "127.0.0.1:4222": f"127.0.0.1:{plain}",
        "0.0.0.0:8883": "127.0.0.1:{port}",
    }
    text = filled(DEPLOY / "nats" / "nats-server.conf", places)
    hall, partner = block_of(text, "nodes-small-hall_1"), block_of(text, "gridco")
    lines = partner.replace("gridco", "otherco").splitlines(keepends=True)
    other = "".join(line for line in lines if "grid.v1" not in line)  # it sets no load targets
    added = hall.replace("hall_1", "hall_2") + other
    if is_trial:
        decided = '"BMS.v1.GIGATWIN.>", "sim.v1.small.decided", "dc.v1.small.*.cap.set"'
        text = text.replace('"BMS.v1.GIGATWIN.>", "dc.v1.small.*.cap.set"', decided)
        added += SIMULATED_FACILITY
    text = text.replace(partner, partner + added)
    return Stand(Broker("nats-server", text, folder), certificates, plain)


def block_of(text, user):
    """Return the block of a user in the configuration of NATS."""
    end = "\n        }}\n"
    start = text.index(f'        {{{{\n            user: "CN={user}"')
    return text[start : text.index(end, start) + len(end)]
