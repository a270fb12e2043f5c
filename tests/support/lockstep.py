"""The service of a site and its simulated plant in one process, in lockstep and without a broker.

Plant, sensors, live state, decisions, orders, alarms and audit record are the real ones. Messages
go from one to the other as bytes; journal, archive and MQTT are left out.
"""

import numpy as np

import sites
from optimizer.backtesting.case import SYNTHETIC_START, synthetic_case
from optimizer.demo.plant_run import build_plant_scenario
from optimizer.inputs.series_files import synthetic_files
from optimizer.planner.planner import decide
from optimizer.service.clock import TIME_BEFORE_FIRST_TICK, SimulatedClock
from optimizer.service.config import ServiceConfig
from optimizer.service.daemon import SiteService
from optimizer.service.decision_engine import DecisionEngine
from optimizer.service.hold_register import HOLD_FILE, HoldRegister
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from telemetry.messages import decode
from telemetry.messages.samples import SimulationTick
from telemetry.mqtt.queues import PublishToken, ReceivedMessage
from telemetry.runtime import ClockMode
from telemetry.simulator.faults import PlantFault
from telemetry.simulator.site import SimulatedSite
from tests.support.environments import environment
from twin.site_settings import ScenarioSettings


class MemoryClient:
    """One end of a connection in memory; `receive` is called with each message of this end."""

    url, error, is_connected, counters = "memory", "", True, {}

    def __init__(self, *_, **__):
        self.receive = lambda *_: None
        self.waiting = []

    def subscribe(self, *_, **__):
        return _done()

    def publish(self, topic, payload, *, qos=0, retain=False, conflate=False):
        self.receive(topic, payload)
        return _done()

    def poll(self, limit=1000, timeout=0.1):
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def acknowledge(self, messages):
        pass


def _done():
    token = PublishToken()
    token.complete(True)
    return token


class LockstepClock(SimulatedClock):
    """Time of the last tick; a service in lockstep reads no queue of ticks."""

    time = TIME_BEFORE_FIRST_TICK

    def now(self):
        return self.time


class LockstepService:
    """A service that decides each tick of its plant, with the solver in this process.

    - `faults`: texts of faults of the plant.
    - `distort`: changes each sample of the plant, as a fault of a sensor does.
    - `events`: time, event, id and text of each event of an alarm.
    - `sources`: source of each decision.
    """

    def __init__(
        self,
        name,
        folder,
        *,
        steps,
        start=SYNTHETIC_START,
        faults=(),
        distort=lambda sample: sample,
    ):
        forecast_alone = {"scenarios": ScenarioSettings(count=0)}  # three times as fast
        site = sites.load_site(name).model_copy(update=forecast_alone)
        case = synthetic_case(site, start=start, steps=steps)
        config = ServiceConfig(
            broker="mqtt://127.0.0.1:1",
            series_files=synthetic_files(),
            clock_mode=ClockMode.SIMULATED,
        )
        register = HoldRegister(folder / HOLD_FILE)  # before others write into the folder
        register.create_file()
        self.clock = LockstepClock()
        parts = environment(config, clock=self.clock, connect=lambda *_: MemoryClient())
        self.link = PlantLink(site, config, folder, environment=parts)
        self.partners = PartnerLink(
            site, config, folder, environment=parts, meter=self.link.current_net_import
        )
        self.events = []
        add = self.partners.audit.add

        def record(content):
            if content["event"].startswith("alarm"):
                self.events.append(tuple(content[key] for key in ("time", "event", "id", "text")))
            add(content)

        self.partners.audit.add = record
        self.service = SiteService(
            site,
            config,
            environment=parts,
            plant_link=self.link,
            partner_link=self.partners,
            hold_register=register,
            folder=folder,
        )
        self.engine = DecisionEngine(
            site=site,
            solve_problem=lambda problem, last: decide(problem, previous=last),
            last_ordered_caps=self.link.commands.last_commands.job_caps,
        )
        plant = MemoryClient()
        plant.receive = self._receive
        self.link._client.receive = lambda topic, payload: plant.waiting.append(
            ReceivedMessage(topic, payload, 1)
        )
        faults = [PlantFault.parse(text, site) for text in faults]
        scene = build_plant_scenario(case, seed=0, faults=faults)
        self.plant, self.distort = SimulatedSite(scene, plant), distort
        self.sources = []

    def run(self):
        """Run to the end, and return the events of alarms."""
        self.plant.run()
        return self.events

    def _receive(self, topic, payload):
        """Process a message of the plant as the ingester does, and decide on a tick."""
        sample = self.distort(decode(topic, payload))
        self.link.window.add(sample)
        self.link.rack_names.observe(sample)
        if isinstance(sample, SimulationTick) and not sample.is_last:
            self.clock.time = np.datetime64(sample.time, "us")
            self.service._decide_interval(self.engine, self.clock.time)
            self.service._update_alarms()
            self.sources.append(self.service._last_result.choice.source.value)
