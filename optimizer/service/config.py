"""Settings of a service, and what it uses of its machine: clock, transport, storage and solver."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol, Self

from optimizer.inputs.series_files import SeriesFiles
from optimizer.planner.decision import Decision
from optimizer.problem.problem import Problem
from optimizer.service.clock import ServiceClock
from optimizer.stochastic.scenarios import ScenarioInputs
from telemetry.archive import Archive
from telemetry.journal.writer import Journal
from telemetry.mqtt.broker import TlsFiles, parse_broker_url
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import LastWill, MessageClient
from telemetry.runtime import ClockMode

DEFAULT_PAGE_PORT: Final = 8440


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """Settings of a service.

    - `broker`: URL of the broker of plant and partners.
    - `series_files`: prices, carbon and weather.
    - `is_shadow`: plan and show everything; order and publish nothing.
    - `clock_mode`: which clock decides when a quarter-hour begins.
    - `is_shipped_site`: the site file comes with gigatwin and is not written by an engineer.
    - `has_synthetic_series`: prices and weather are synthetic.
    - `page_port`: port of the page on loopback; 0 takes a free one, None serves no page.
    - `page_hosts`: further host names under which a proxy serves the page.
    - `tls`: certificates, if the broker requires them, and the permission for cleartext.
    - `protocol`: version of MQTT.
    - `client_suffix`: end of every client id. A broker disconnects a client when another one takes
      its id, so where that is secret, no other certificate can disconnect the service.
    """

    broker: str
    series_files: SeriesFiles
    is_shadow: bool = False
    clock_mode: ClockMode = ClockMode.REAL
    is_shipped_site: bool = False
    has_synthetic_series: bool = False
    page_port: int | None = DEFAULT_PAGE_PORT
    page_hosts: tuple[str, ...] = ()
    tls: TlsFiles | None = None
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    client_suffix: str = field(default="", repr=False)

    @property
    def is_simulated(self) -> bool:
        """Whether a simulated plant sets the time."""
        return self.clock_mode is ClockMode.SIMULATED

    @property
    def is_synthetic(self) -> bool:
        """Whether the series or the plant are not real; every output states it."""
        return self.has_synthetic_series or self.is_simulated

    @property
    def allows_cleartext(self) -> bool:
        """Whether ``mqtt://`` to another machine is allowed."""
        return self.tls is not None and self.tls.allow_cleartext

    @property
    def encryption(self) -> str:
        """Whether the connection to the broker is encrypted, or why it need not be."""
        address = parse_broker_url(self.broker)
        if address.is_exposed:
            return f"{address}: not encrypted, as --allow-cleartext allows"
        how = "encrypted" if address.is_secure else "on this machine"
        unneeded = ", --allow-cleartext is set without need" if self.allows_cleartext else ""
        return f"{address}: {how}{unneeded}"

    def create_client(self, client_id: str, will: LastWill | None = None) -> Client:
        """Return a client of the broker that is not started.

        Raises BrokerError if the URL or the certificates are wrong, or the connection would not be
        encrypted.
        """
        return Client(
            self.broker,
            client_id=f"{client_id}-{self.client_suffix}" if self.client_suffix else client_id,
            will=will,
            protocol=self.protocol,
            tls=self.tls,
        )


class Solver(Protocol):
    """Solver of decisions, as :class:`optimizer.service.solver_process.SolverProcess` is."""

    def __enter__(self) -> Self:
        """Start it."""

    def __exit__(self, *_: object) -> None:
        """End it."""

    def decide(
        self,
        problem: Problem,
        previous: Decision | None,
        scenario_inputs: ScenarioInputs | None = ...,
    ) -> Decision:
        """Return the best schedule of a problem."""

    def abort(self) -> None:
        """Let a waiting caller get an error at once; nothing more is decided."""


@dataclass(frozen=True, kw_only=True)
class ServiceEnvironment:
    """What a service uses of its machine; a simulation has others.

    - `clock`: time of the service, and of its deadlines.
    - `connect`: client id and last will -> client of the broker that is not started.
    - `open_journal`: folder -> the journal in it.
    - `open_archive`: folder and name of the site -> the archive in it.
    - `start_solver`: starts the solver.
    """

    clock: ServiceClock
    connect: Callable[[str, LastWill | None], MessageClient]
    open_journal: Callable[[Path], Journal]
    open_archive: Callable[[Path, str], Archive]
    start_solver: Callable[[], Solver]
