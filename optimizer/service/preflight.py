"""What a start would meet, looked at without one: files, state, partners, page, broker, plant.

Nothing is written, ordered or published, so it may be asked beside a service that runs.
"""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from optimizer.service.folder import SCHEMA_FILE, check_layout, refuse_other
from optimizer.service.holding.control import is_running
from optimizer.service.partners.parties import SENDER, read_partners, read_sender
from optimizer.service.series import Series
from optimizer.service.settings import Settings
from telemetry.points.discovery import SiteDiscovery, discover
from telemetry.points.topology import MAX_NAMES_LISTED, compare_topology
from twin.errors import GigatwinError, ServiceError, ValidationIssue
from twin.site import Site
from twin.text import NAME_RULE, is_valid_name

SECONDS: Final = 5.0
"""How long a plant is listened to; brokers keep what names its points, so it comes at once. [s]"""

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was looked at.

    Attributes
    ----------
    what
        Its name.
    found
        What was found, in words.
    fault
        What keeps a service from its work, with its mend; empty if nothing does.
    """

    what: str
    found: str = ""
    fault: str = ""


def looks(site: Site, settings: Settings, path: Path, *, now: np.datetime64) -> Iterator[Look]:
    """Yield what a start of a service would meet, each as soon as it is known.

    Parameters
    ----------
    site
        The site.
    settings
        What the service would be told.
    path
        Its state folder.
    now
        The time, UTC.
    """
    every: dict[str, Callable[[], str]] = {
        "site": lambda: _site(site),
        "series": lambda: _series(site, settings, now),
        "state": lambda: _state(site, path),
        "partners": lambda: _partners(site, path / "keys"),
        "page": lambda: _page(settings, path),
        "broker and plant": lambda: _plant(site, settings),
    }
    for what, look in every.items():
        try:
            yield Look(what=what, found=look())
        except (GigatwinError, OSError) as error:
            yield Look(what=what, fault=str(error))


def refuse_name(site: Site) -> None:
    """Refuse a site whose name cannot stand in topics.

    Raises
    ------
    ServiceError
        If brokers or partners would refuse it.
    """
    if not is_valid_name(site.name):  # in shadow nobody else would tell
        mend = f"rename its file: a site that is served has a name of {NAME_RULE}"
        raise ServiceError(
            "site", [ValidationIssue(place="name", value=ascii(site.name), mend=mend)]
        )


def _site(site: Site) -> str:
    refuse_name(site)
    return f"{site.name}: {site.title}"


def _series(site: Site, settings: Settings, now: np.datetime64) -> str:
    if settings.is_simulated:
        return "read as the simulated plant tells the time"
    series = Series(site, settings.files)
    series.record(now)
    if trouble := series.alarm(now):
        mend = "fetch it anew, or see why it was not: gigatwin fetch, or whoever writes the file"
        raise ServiceError("series", [ValidationIssue(place="files", value=trouble, mend=mend)])
    return ", ".join(f"{name} until {end}" for name, end in series.until.items())


def _state(site: Site, path: Path) -> str:
    home = next(one for one in (path, *path.parents) if one.exists())
    if not (home.is_dir() and os.access(home, os.W_OK | os.X_OK)):
        mend = (
            "it must be a folder where the service's user may write; or name another with --state"
        )
        raise ServiceError(
            "state", [ValidationIssue(place=str(home), value="not writable", mend=mend)]
        )
    if not (path / SCHEMA_FILE).exists():
        return f"{path}: none yet, the first start makes it"
    check_layout(path)
    refuse_other(path, site.name)
    return f"{path}{', a service runs on it' if is_running(path) else ''}"


def _partners(site: Site, keys: Path) -> str:
    names = [partner.name for partner in read_partners(keys / "partners")]
    read_sender(keys / SENDER, site)
    codes = (
        "" if (keys / SENDER).exists() else f"; codes of a demonstration, as {SENDER} is not there"
    )
    if not names:
        return f"none in {keys / 'partners'}: schedules go to nobody{codes}"
    return f"{', '.join(names)}{codes}"


def _page(settings: Settings, path: Path) -> str:
    port = settings.page_port or 0
    try:
        with socket.create_server((LOOPBACK, port)):
            pass
    except (OSError, OverflowError) as error:
        if is_running(path):
            return f"port {port} is taken, as by the service that runs"
        mend = "end what listens there, or give another port with --page"
        why = getattr(error, "strerror", None) or error
        fault = ValidationIssue(place="page", value=f"port {port}: {why}", mend=mend)
        raise ServiceError("page", [fault]) from error
    return f"port {port} is free" if port else "a free port is taken"


def _plant(site: Site, settings: Settings) -> str:
    """Return what is heard of the plant, and where it and the site file do not agree."""
    discovery = SiteDiscovery(site.name)
    url, protocol = settings.broker, settings.protocol
    count = discover(url, discovery, seconds=SECONDS, tls=settings.tls, protocol=protocol)
    points = list(discovery.points.values())
    if not points:
        others = ", ".join(name for name, _ in discovery.strangers.most_common(MAX_NAMES_LISTED))
        seen = f"{count} messages in {SECONDS:g} s" + (f", points of {others}" if others else "")
        mend = (
            f"let the plant's gateway say its metadata, with tag paths that begin with {site.name}"
        )
        raise ServiceError("plant", [ValidationIssue(place=site.name, value=seen, mend=mend)])
    differences = compare_topology(site, points, discovery.batches)
    heard = f"{len(points)} points and {len(discovery.batches)} racks heard in {SECONDS:g} s"
    if not differences:
        return f"{heard}, as the site file has them"
    first = "; ".join(differences[:MAX_NAMES_LISTED])
    return f"{heard}; {len(differences)} differences from the site file: {first}"
