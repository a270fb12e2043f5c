"""Start of a service, and the checks before a start: files, state, partners, page, broker, plant.

The checks write, order and publish nothing, so they may run beside a running service.
"""

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import structlog

from optimizer.inputs.live_series import LiveSeries
from optimizer.service.clock import RealClock, SimulatedClock
from optimizer.service.config import ServiceConfig, ServiceEnvironment
from optimizer.service.control_socket import (
    SOCKET_FILE,
    CommandHandler,
    ControlServer,
    is_service_running,
)
from optimizer.service.daemon import SiteService
from optimizer.service.hold_commands import carry_out_hold_command
from optimizer.service.hold_register import HOLD_FILE, HoldRegister
from optimizer.service.operators import read_operators
from optimizer.service.page import PAGE_ADDRESS, PageServer
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.solver_process import SolverProcess
from optimizer.service.state_folder import (
    LAYOUT_FILE,
    SCENARIO_COUNT_KEY,
    StateFolder,
    check_layout,
    check_privacy,
    check_site_of_folder,
    earlier_service_files,
    read_state_file,
)
from optimizer.service.status import render_json
from optimizer.service.watchdog import notify_systemd
from telemetry.archive import Archive
from telemetry.durable_files import write_atomic, write_json_atomic
from telemetry.feed.partners import SENDER_FILE, read_partners, read_sender
from telemetry.journal.writer import Journal
from telemetry.points.discovery import SiteDiscovery, discover
from telemetry.points.topology import MAX_NAMES_LISTED, compare_topology
from twin.errors import GigatwinError, IssueCode, JournalError, ServiceError
from twin.site import Site
from twin.site_settings import MAX_SCENARIO_COUNT, ScenarioSettings
from twin.text import NAME_RULE, is_valid_name

SHARED_FOLDER_VARIABLE: Final = "RUNTIME_DIRECTORY"
"""Environment variable of systemd with a folder for a socket that other users may reach."""

SHARED_SOCKET_MODE: Final = 0o660
"""Permissions of that socket: the service's user and its group."""

logger = structlog.get_logger(__name__)


def run_service(site: Site, config: ServiceConfig, path: Path) -> None:
    """Run the service of a site on the state folder ``path`` until SIGTERM, SIGINT or SIGHUP.

    Raises ServiceError if the folder is in use, of another site, or not usable; or if the name of
    the site is not allowed in topics. Raises StatusPageError if the page's port is in use.
    """
    check_site_name(site)
    with ExitStack() as stack:
        folder = stack.enter_context(StateFolder(path, site=site.name)).path
        site = _with_recorded_planner(site, config, folder)
        stop = stack.enter_context(stop_on_signals())
        register = HoldRegister(folder / HOLD_FILE)  # before others write into the folder
        register.create_file()
        environment = real_environment(config)
        link = PlantLink(site, config, folder, environment=environment)
        service = SiteService(
            site,
            config,
            environment=environment,
            plant_link=link,
            partner_link=PartnerLink(
                site, config, folder, environment=environment, meter=link.current_net_import
            ),
            hold_register=register,
            folder=folder,
        )
        if config.page_port is not None:
            page = PageServer(
                service,
                port=config.page_port,
                token=secrets.token_urlsafe(),
                hosts=config.page_hosts,
            )
            page.start()
            stack.callback(page.stop)
            write_page_url(folder / "page.url", page.url)
            logger.info("page", url=page.url)
        answer = _handle_commands(service)
        sockets = [ControlServer(folder / SOCKET_FILE, answer)]
        if shared := os.environ.get(SHARED_FOLDER_VARIABLE):
            path = Path(shared) / SOCKET_FILE
            sockets.append(ControlServer(path, answer, mode=SHARED_SOCKET_MODE))
        for control in sockets:
            service.supervise(stack.enter_context(control).thread)
        register.reload()  # until now commands wrote a HOLD to the file
        logger.info("started", site=site.name, broker=link.url, state=str(folder))
        service.run(stop)
        notify_systemd("STOPPING=1")


def _with_recorded_planner(site: Site, config: ServiceConfig, folder: Path) -> Site:
    """Return the site with the planner of its state folder, which is recorded there."""
    site, notice = with_planner_of_folder(site, folder, is_shipped=config.is_shipped_site)
    if notice:
        logger.warning("planner kept", site=site.name, because=notice)
    record_planner(site, folder)
    return site


def with_planner_of_folder(
    site: Site, folder: Path, *, is_shipped: bool = False
) -> tuple[Site, str]:
    """Return a site with the scenarios that its service uses, and a notice; empty without one.

    Only an engineer changes the planner of a site that runs, no new version of gigatwin. So the
    folder's number of scenarios holds until the site file states one. A folder of a version
    without such a number was planned for the forecast alone, unless its site file states
    otherwise. ``is_shipped`` is whether the site file comes with gigatwin, so that its number
    is for new folders only.
    """
    declared = site.scenarios.count
    recorded = read_state_file(folder / LAYOUT_FILE).get(SCENARIO_COUNT_KEY)
    if not (isinstance(recorded, int) and 0 <= recorded <= MAX_SCENARIO_COUNT):
        recorded = 0 if earlier_service_files(folder) else declared
    is_declared = site.scenarios.is_stated and not is_shipped
    if is_declared or recorded == declared:
        return site, ""
    before, new = (f"{n} scenarios" if n else "the forecast alone" for n in (recorded, declared))
    notice = (
        f"plans for {before}, as the service of this state folder did before; to plan for {new}, "
        f"write [scenarios] count = {declared} into {'a copy of ' * is_shipped}the site file"
    )
    return site.model_copy(update={"scenarios": ScenarioSettings(count=recorded)}), notice


def record_planner(site: Site, folder: Path) -> None:
    """Store the number of scenarios that a service uses; the folder is open."""
    path = folder / LAYOUT_FILE
    content = read_state_file(path)
    if content.get(SCENARIO_COUNT_KEY) != site.scenarios.count:
        write_json_atomic(path, content | {SCENARIO_COUNT_KEY: site.scenarios.count})


def real_environment(config: ServiceConfig) -> ServiceEnvironment:
    """Return what a service on this machine uses."""
    return ServiceEnvironment(
        clock=SimulatedClock() if config.is_simulated else RealClock(),
        connect=config.create_client,
        open_journal=Journal,
        open_archive=Archive,
        start_solver=SolverProcess,
    )


def write_page_url(path: Path, url: str) -> None:
    """Write the URL of the page into a file; a failure is only logged."""
    try:
        write_atomic(path, url)
    except (OSError, JournalError) as error:
        logger.warning("page URL not written", url=url, because=str(error))


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM, SIGINT and SIGHUP set; a second signal interrupts at once."""
    stop = threading.Event()

    def end(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    ends = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored under nohup
        ends.append(signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in ends}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle_commands(service: SiteService) -> CommandHandler:
    """Return the handler of commands of the control socket."""

    def answer(command: Mapping[str, object], uid: int) -> Mapping[str, object]:
        match command.get("command"):
            case "status":
                snapshot = msgspec.json.decode(render_json(service.status()))
                return {"snapshot": snapshot, "missing": service.readiness_problems()}
            case "adopt":
                service.apply_hold_file()
                return {}
        return carry_out_hold_command(service, command, channel="command", uid=uid)

    return answer


DISCOVERY_TIME_S: Final = 5.0
"""Time for which a plant is observed; its metadata is retained, so it arrives at once. [s]"""

LIVE_DATA_TIMEOUT_S: Final = 30.0
"""Longest wait for values and racks after that: three heartbeats of a plant. [s]"""


class PreflightSubject(StrEnum):
    """What a check before a start is about."""

    SITE = "site"
    SERIES = "series"
    STATE = "state"
    PARTNERS = "partners"
    PAGE = "page"
    ENCRYPTION = "encryption"
    PLANT = "broker and plant"


@dataclass(frozen=True, kw_only=True)
class PreflightCheck:
    """A check before a start.

    - `error`: what prevents a start, with its remedy; empty if nothing does.
    """

    subject: PreflightSubject
    result: str = ""
    error: str = ""


def run_preflight_checks(
    site: Site, config: ServiceConfig, path: Path, *, now: np.datetime64
) -> Iterator[PreflightCheck]:
    """Yield the checks before a start of a service, each as soon as it is done.

    ``path`` is the state folder, ``now`` the time in UTC.
    """
    checks: dict[PreflightSubject, Callable[[], str]] = {
        PreflightSubject.SITE: lambda: _site(site),
        PreflightSubject.SERIES: lambda: _series(site, config, now),
        PreflightSubject.STATE: lambda: _state(site, config, path),
        PreflightSubject.PARTNERS: lambda: _partners(site, path / "keys"),
        PreflightSubject.PAGE: lambda: _page(config, path),
        PreflightSubject.ENCRYPTION: lambda: _encryption(config),
        PreflightSubject.PLANT: lambda: _plant(site, config),
    }
    for subject, check in checks.items():
        try:
            yield PreflightCheck(subject=subject, result=check())
        except (GigatwinError, OSError) as error:
            yield PreflightCheck(subject=subject, error=str(error))


def check_site_name(site: Site) -> None:
    """Refuse a site whose name is not allowed in topics.

    Raises ServiceError if brokers or partners would refuse the name.
    """
    if not is_valid_name(site.name):  # in shadow mode nothing else reports it
        raise ServiceError.single(
            "site",
            IssueCode.INVALID_FORMAT,
            "name",
            found=ascii(site.name),
            expected=f"for a site with a service, {NAME_RULE}",
            remedy="rename its file",
        )


def _site(site: Site) -> str:
    check_site_name(site)
    return f"{site.name}: {site.title}"


def _series(site: Site, config: ServiceConfig, now: np.datetime64) -> str:
    if config.is_simulated:
        return "read at the times of the simulated plant"
    series = LiveSeries(site, config.series_files)
    series.current(now)
    if error := "; ".join(series.errors(now).values()):
        raise ServiceError.single(
            "series",
            IssueCode.EXPIRED,
            "files",
            found=error,
            expected="series that reach far enough",
            remedy="fetch it again with gigatwin fetch, or check what writes the file",
        )
    return ", ".join(f"{name} until {end}" for name, end in series.known_until.items())


def _state(site: Site, config: ServiceConfig, path: Path) -> str:
    home = next(one for one in (path, *path.parents) if one.exists())
    if not (home.is_dir() and os.access(home, os.W_OK | os.X_OK)):
        raise ServiceError.single(
            "state",
            IssueCode.FILE_ERROR,
            str(home),
            found="not writable",
            expected="a folder where the service's user may write",
            remedy="allow it, or name another folder with --state",
        )
    if not (path / LAYOUT_FILE).exists():
        return f"{path}: none yet, the first start creates it"
    check_layout(path)
    check_site_of_folder(path, site.name)
    check_privacy(path)
    running = ", a service runs on it" if is_service_running(path) else ""
    operators = (
        ""
        if read_operators(path)
        else ("; no operators, so nobody can release a HOLD: run gigatwin operators add NAME")
    )
    _, notice = with_planner_of_folder(site, path, is_shipped=config.is_shipped_site)
    return f"{path}{running}{operators}" + (f"; {notice}" if notice else "")


def _partners(site: Site, keys: Path) -> str:
    names = [partner.name for partner in read_partners(keys / "partners")]
    read_sender(keys / SENDER_FILE, site)
    codes = (
        ""
        if (keys / SENDER_FILE).exists()
        else f"; codes of a demonstration, as {SENDER_FILE} is not there"
    )
    if not names:
        return f"none in {keys / 'partners'}: schedules go to nobody{codes}"
    return f"{', '.join(names)}{codes}"


def _page(config: ServiceConfig, path: Path) -> str:
    port = config.page_port or 0
    try:
        with socket.create_server((PAGE_ADDRESS, port)):
            pass
    except (OSError, OverflowError) as error:
        if is_service_running(path):
            return f"port {port} is taken, as by the service that runs"
        why = getattr(error, "strerror", None) or error
        raise ServiceError.single(
            "page",
            IssueCode.IN_USE,
            "page",
            found=f"port {port}: {why}",
            expected="a free port",
            remedy="end what listens there, or give another port with --page",
        ) from error
    return f"port {port} is free" if port else "a free port is taken"


def _encryption(config: ServiceConfig) -> str:
    config.create_client("gigatwin-check")  # refuses cleartext, and unusable certificates
    return config.encryption


def _plant(site: Site, config: ServiceConfig) -> str:
    """Return what the plant sends, and how it differs from the site file.

    Raises ServiceError if there is only retained metadata, which a dead plant leaves behind.
    """
    discovery, begun = SiteDiscovery(site.name), time.monotonic()
    listen = partial(discover, config.broker, discovery, tls=config.tls, protocol=config.protocol)
    count = listen(seconds=DISCOVERY_TIME_S)
    points = list(discovery.points.values())
    if not points:
        others = ", ".join(name for name, _ in discovery.other_sites.most_common(MAX_NAMES_LISTED))
        seen = f"{count} messages in {DISCOVERY_TIME_S:g} s" + (
            f", points of {others}" if others else ""
        )
        raise ServiceError.single(
            "plant",
            IssueCode.MISSING,
            site.name,
            found=seen,
            expected=f"metadata with tag paths that begin with {site.name}",
            remedy="let the plant's gateway publish its metadata",
        )
    _require_live_data(discovery, needs_racks=not config.is_simulated, listen=listen, begun=begun)
    points = list(discovery.points.values())
    differences = compare_topology(site, points, discovery.batches)
    counts = (
        f"{len(points)} points, {len(discovery.live_points)} of them with values, and "
        f"{len(discovery.batches)} racks"
    )
    observed = f"{counts} received in {time.monotonic() - begun:.0f} s"
    if not differences:
        return f"{observed}, as the site file has them"
    first = "; ".join(differences[:MAX_NAMES_LISTED])
    return f"{observed}; {len(differences)} differences from the site file: {first}"


def _require_live_data(
    discovery: SiteDiscovery, *, needs_racks: bool, listen: Callable[..., int], begun: float
) -> None:
    """Wait for values of points and for racks, which a running plant sends.

    A simulated plant that waits for a decision repeats its values, but not its racks. ``begun`` is
    when the observation began, by the monotonic clock [s]. Raises ServiceError if nothing comes.
    """

    def is_live() -> bool:
        return bool(discovery.live_points and (discovery.batches or not needs_racks))

    if not is_live():
        listen(seconds=LIVE_DATA_TIMEOUT_S, is_complete=is_live)
    if not is_live():
        counts = f"{len(discovery.live_points)} values and {len(discovery.batches)} racks"
        raise ServiceError.single(
            "plant",
            IssueCode.MISSING,
            discovery.site,
            found=f"metadata, but {counts} in {time.monotonic() - begun:.0f} s",
            expected="values of points" + " and batches of racks" * needs_racks,
            remedy="start the plant's gateway and its node agents: the broker keeps the metadata "
            "of a plant that has stopped",
        )
