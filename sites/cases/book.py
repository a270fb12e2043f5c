"""All cases that the twin is held to, in the order of the page."""

from collections.abc import Iterator

from sites.cases import energyplus, hosts, networks, own, physics, plants
from sites.cases.case import Case, Outcome, Skipped, judge


def cases() -> Iterator[Case]:
    """Yield all cases: those of the founding requirements by their number, then what was added."""
    found = [*physics.cases(), *plants.cases(), energyplus.case(), *networks.cases()]
    yield from sorted((case for case in found if case.number), key=lambda case: case.number)
    yield from (case for case in found if not case.number)
    yield from hosts.cases()
    yield from own.cases()


def skipped() -> list[Skipped]:
    """Return the cases that :func:`cases` leaves out, as what they need is not installed."""
    return [*networks.skipped()]


def outcomes() -> list[Outcome]:
    """Return all cases with our values, computed now; it takes some seconds."""
    return [judge(case) for case in cases()]
