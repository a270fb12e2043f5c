"""Put a service together, run it until somebody ends it, and leave nothing half done."""

import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from optimizer.service.clock import RealClock, SimulatedClock
from optimizer.service.daemon import Service
from optimizer.service.folder import StateFolder
from optimizer.service.holding.control import ControlServer
from optimizer.service.holding.offline import HOLDS
from optimizer.service.notify import notify
from optimizer.service.overrides import Overrides
from optimizer.service.page import PageServer
from optimizer.service.partners.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.preflight import refuse_name
from optimizer.service.settings import Settings
from telemetry.files import write_atomic
from twin.errors import JournalError, ServiceError, ValidationIssue
from twin.site import Site

logger = structlog.get_logger(__name__)


def serve(site: Site, settings: Settings, path: Path) -> None:
    """Run the service of a site until SIGTERM, Ctrl-C, or the end of its terminal.

    Parameters
    ----------
    site
        The site.
    settings
        What it is told.
    path
        State folder.

    Raises
    ------
    ServiceError
        If another service uses the folder, it is another site's, or it cannot be used; or if the
        site has a name that brokers or partners would refuse.
    PageError
        If the page's port is taken.
    """
    refuse_name(site)
    with ExitStack() as stack:
        folder = stack.enter_context(StateFolder(path, site=site.name)).path
        stop = stack.enter_context(ending())
        link, overrides = PlantLink(site, settings, folder), Overrides(folder / HOLDS)
        service = Service(
            site,
            settings,
            clock=SimulatedClock() if settings.is_simulated else RealClock(),
            link=link,
            partners=PartnerLink(site, settings, folder, meter=link.meter),
            overrides=overrides,
            folder=folder,
        )
        if settings.page_port is not None:
            page = PageServer(
                service,
                port=settings.page_port,
                token=secrets.token_urlsafe(),
                hosts=settings.page_hosts,
            )
            page.start()
            stack.callback(page.stop)
            note_page(folder / "page.url", page.url)
            logger.info("page", url=page.url)
        stack.enter_context(ControlServer(folder / "control.sock", _commands(service)))
        overrides.take_up()  # until now a HOLD went to the file, as where no service runs
        logger.info("started", site=site.name, broker=link.url, state=str(folder))
        service.run(stop)
        notify("STOPPING=1")


def note_page(path: Path, url: str) -> None:
    """Write down where the page is, as a convenience: a disk that is full stops no start."""
    try:
        write_atomic(path, url)
    except (OSError, JournalError) as error:
        logger.warning("where the page is stands in no file", url=url, because=str(error))


@contextmanager
def ending() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM, Ctrl-C and a lost terminal set; a second one ends at once."""
    stop = threading.Event()

    def end(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    ends = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # who says nohup lets it go on
        ends.append(signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in ends}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _commands(
    service: Service,
) -> Callable[[Mapping[str, object]], Mapping[str, object]]:
    """Return what carries out the commands of the socket."""

    def answer(told: Mapping[str, object]) -> Mapping[str, object]:
        match told:
            case {"command": "status"}:
                return {"snapshot": service.snapshot(), "missing": service.is_ready()}
            case {"command": "hold", "author": str(author), "reason": str(reason)}:
                hours = _hours(told.get("hours"))
                return {"said": service.hold(author=author, reason=reason, hours=hours)}
            case {"command": "release", "author": str(author)}:
                return {"was_held": service.release(author=author)}
        mend = "there are status, hold (author, reason, hours) and release (author)"
        fault = ValidationIssue(place="command", value=repr(told)[:80], mend=mend)
        raise ServiceError("socket", [fault])

    return answer


def _hours(told: object) -> float | None:
    """Return the length of a HOLD; None for one without an end."""
    match told:
        case None:
            return None
        case bool():
            pass
        case int() | float():
            return float(told)
    fault = ValidationIssue(
        place="hours", value=repr(told)[:80], mend="give a number of hours, or none"
    )
    raise ServiceError("socket", [fault])
