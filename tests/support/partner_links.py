"""The link of a service to its partners, on connections that keep all messages."""

import json
from types import SimpleNamespace

from optimizer.fallback.ladder import ScheduleSource
from optimizer.service.audit import AUDIT_FILE, read_entries
from optimizer.service.config import ServiceConfig
from optimizer.service.partner_link import PartnerLink
from telemetry.feed.signing import public_jwk_set, verify_signature
from tests.support import moments, small_days
from tests.support.environments import environment
from tests.support.feeds import MINUTE, START, Wire, acknowledgement, key, plan

OUTCOME = SimpleNamespace(choice=SimpleNamespace(reason="", source=ScheduleSource.OPTIMUM))


class Bench:
    """The link of a service to two partners, on connections that keep all messages."""

    def __init__(self, folder):
        self.folder = folder
        partners = folder / "keys" / "partners"
        partners.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.wires = {name: Wire(None) for name in ("tso-1", "dso-2")}
        for name in self.wires:
            (partners / f"{name}.json").write_text(json.dumps(public_jwk_set(key(name))))
        settings = ServiceConfig(broker="mqtt://127.0.0.1:1", series_files=small_days.files())
        self.link = PartnerLink(
            moments.site(),
            settings,
            folder,
            environment=environment(settings),
            meter=lambda _: 2.0,
        )
        self.link.feed._connect = lambda name, _: self.wires[name]

    def open(self, minutes):
        return self.link.connect_partners(lambda: START + minutes * MINUTE)

    def publish(self, minutes, power):
        """Send a document as it is made; return the first baselines that each partner receives."""
        now = START + minutes * MINUTE
        self.link.publish(plan(now, site="small", power=power), OUTCOME, now=now)
        baselines = {}
        for name, wire in self.wires.items():
            texts = [payload for topic, payload in wire.sent if topic.endswith("/schedule")]
            rows = json.loads(verify_signature(texts[-1], public_jwk_set(self.link.feed._key)))[
                "intervals"
            ]
            baselines[name] = [row["baseline_mw"] for row in rows[:5]]
        return baselines

    def states(self, name="tso-1"):
        """Return state, newest revision and revision in force of each status that was sent."""
        sent = [p for topic, p in self.wires[name].sent if topic.endswith("/status")]
        documents = [
            verify_signature(text, public_jwk_set(self.link.feed._key), kind="status")
            for text in sent
        ]
        return [
            tuple(json.loads(t)[key] for key in ("state", "revision", "in_force"))
            for t in documents
        ]

    def answer(self, revision, minutes, *, name="tso-1", code="A01", **others):
        whose = {"site": "small", "mrid": f"small.{name}.0"}
        message = acknowledgement(revision, name=name, code=code, **whose | others)
        self.wires[name].incoming = [message._replace(topic=f"feed/v1/{name}/small/ack")]
        self.link.poll(START + minutes * MINUTE)

    def recorded(self):
        """Return the entries of the audit record."""
        entries = list(read_entries(self.folder / AUDIT_FILE))
        assert not [one for one in entries if one.damage]
        return [one.content for one in entries]
