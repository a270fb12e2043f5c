"""A service of the small site without a plant: decisions, periodic tasks and state label."""

import time
from functools import cache
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np

from optimizer.service.clock import ServiceClock
from optimizer.service.config import ServiceConfig
from optimizer.service.daemon import SiteService
from optimizer.service.decision_inputs import SchedulerJobs
from optimizer.service.hold_register import HoldRegister
from optimizer.service.operators import Requester, add_operator
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.status import (
    BrokerStatus,
    DataAge,
    LinkState,
    TelemetryStatus,
    state_label,
)
from optimizer.service.watchdog import run_periodic
from telemetry.commands import CommandPublisher, PlantCommands
from telemetry.live.state import LiveState
from telemetry.points.topology import RackNameComparison
from telemetry.runtime import ClockMode
from tests.support import moments, small_days
from tests.support.environments import environment

UNHEARD = "the scheduler has reported no queue yet; expected on dc/v1/small/jobs/queue"


@cache
def outcomes():
    """Return a decision without a HOLD, and one under it, of the same quarter-hour."""
    free = moments.pilot().decide(moments.facts())
    return free, moments.pilot().decide(moments.facts(hold="HOLD by ana: work"))


class Pilot:
    """An engine with a fixed result or error; `meanwhile` is called during a decision."""

    interval_control = None
    last_estimate = None

    def __init__(self, *, error=None, meanwhile=None):
        self._error, self._meanwhile = error, meanwhile

    def decide(self, facts):
        if self._error is not None:
            raise self._error
        if self._meanwhile is not None:
            self._meanwhile()
        return outcomes()[bool(facts.hold_reason)]


class Bench:
    """A service of the small site in shadow, without a plant."""

    def __init__(self, folder, *, is_shadow=True):
        self.now = moments.facts().queue.instant
        site = moments.site()
        settings = ServiceConfig(
            broker="mqtt://127.0.0.1:1", series_files=small_days.files(), is_shadow=is_shadow
        )
        link = MagicMock(spec=PlantLink)
        link.window, link.jobs = LiveState(site), MagicMock(spec=SchedulerJobs)
        facts = moments.facts()
        link.observed.return_value, link.jobs.queue.return_value = facts.observed, facts.queue
        link.means.return_value = facts.observed
        link.jobs.past_arrivals.return_value, link.excluded_racks.return_value = facts.past_jobs, ()
        link.setpoint_refusal.return_value, link.mean_net_import.return_value = "", np.nan
        link.broker_status.return_value = BrokerStatus(
            url="mqtt://127.0.0.1:1", is_connected=True, trouble=""
        )
        link.error = link.archive_error = link.ingest_error = link.silence_error = ""
        link.cleartext_warning, link.commands = "", MagicMock(spec=CommandPublisher)
        link.commands.last_commands = PlantCommands()
        link.state, link.data_age.return_value = LinkState.CONNECTED, DataAge()
        link.refused_timestamps.return_value = link.silent_points.return_value = {}
        link.rack_names = RackNameComparison(site)
        link.jobs.rejected_orders.return_value = {}
        link.jobs.outdated_report_error.return_value = link.jobs.missing_queue = ""
        link.drift_monitor = SimpleNamespace(update=lambda _: None, wear_drifts=lambda: ())
        link.telemetry_status.return_value, link.threads = TelemetryStatus(), ()
        clock = MagicMock(spec=ServiceClock)
        hold_register = HoldRegister(folder / "hold.json")  # before others write there
        clock.now.return_value, clock.mode = self.now, ClockMode.REAL
        clock.monotonic = time.monotonic
        parts = environment(settings, clock=clock)
        self.folder, self.link = folder, link
        self.service = SiteService(
            site,
            settings,
            environment=parts,
            plant_link=link,
            partner_link=PartnerLink(
                site, settings, folder, environment=parts, meter=lambda _: 2.0
            ),
            hold_register=hold_register,
            folder=folder,
        )

    def decide(self, **pilot):
        self.service._decide_interval(Pilot(**pilot), self.now)

    @property
    def state(self):
        return state_label(self.service.status())

    def run_tasks(self):
        """Run the periodic tasks once; return the causes of alarms."""
        for tasks in self.service.periodic_tasks.values():
            stop = MagicMock()
            stop.wait.side_effect = [False, True]
            run_periodic(stop, *tasks)
        return [alarm.cause for alarm in self.service.status().alarms]

    def hold(self):
        requester = Requester(channel="page")
        self.service.hold(requester=requester, author="ana", reason="work", hours=None)

    def release(self):
        token = add_operator(self.folder, "eva")
        (held,) = self.service.status().holds
        self.service.release(held.number, requester=Requester(channel="page", token=token))
