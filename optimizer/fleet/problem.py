"""Give sites the lanes of a fleet: the same for all, open where a route lets work leave or come."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from optimizer.problem.migration import (
    MIN_BLOCK_H,
    MigrationRoute,
    add_incoming_cohorts,
    open_migration,
    remove_incoming_cohorts,
)
from optimizer.problem.problem import Problem
from twin.declarations import FleetRoute
from twin.errors import ProblemError, ValidationIssue
from twin.physics import FloatArray
from twin.site import Site
from twin.units import MAX_ENERGY_PRICE_EUR_MWH
from twin.validation import check_argument_types
from twin.workload.queue import RackPool

RACK_POWER_TOLERANCE_SHARE: Final = 1e-6
"""Share by which racks may differ and still be the same. [1]"""

WORK_TOLERANCE_MWH: Final = 1e-6
"""Work that is none: solvers leave so much of nothing. [MWh]"""


def build_fleet_problems(
    problems: Sequence[Problem], routes: Mapping[str, FleetRoute], *, block: float = MIN_BLOCK_H
) -> tuple[Problem, ...]:
    """Return the questions of sites that share work.

    Parameters
    ----------
    problems
        Their questions alone, over the same intervals.
    routes
        Name -> which work may move from where to where.
    block
        Shortest time over which the sites settle what moves. [h]

    Returns
    -------
    tuple of Problem
        With the lanes of all routes, and a cohort for the work that may come by each.

    Raises
    ------
    ProblemError
        If sites, routes and intervals do not fit together; all faults are told at once.

    Notes
    -----
    Work is told in MWh of uncapped racks, so that racks must draw the same at all sites.
    """
    check_problem_types("share", problems)
    check_argument_types("share", routes=(routes, Mapping))
    check_argument_types(
        "share", **{f"routes, {name}": (one, FleetRoute) for name, one in routes.items()}
    )
    _refuse(
        [*_sense_of([problem.site for problem in problems], routes), *_sense_of_times(problems)]
    )
    return tuple(_with_routes(problem, routes, block) for problem in problems)


def with_fixed_migration(problem: Problem, net: FloatArray) -> Problem:
    """Return the question of a site whose exchange is settled.

    Parameters
    ----------
    problem
        Its question, with lanes.
    net
        What it sends less what it takes in, ``(block, lane)``, in work of the fleet. [MWh]

    Returns
    -------
    Problem
        Where nothing moves that of the site alone, whose work may hold reserves too.
    """
    if problem.migration is None or not (np.abs(net) > WORK_TOLERANCE_MWH).any():
        return replace(problem, outlook=remove_incoming_cohorts(problem.outlook), migration=None)
    return replace(problem, migration=problem.migration.with_fixed_net(net))


def check_problem_types(source: str, problems: Sequence[Problem]) -> None:
    """Refuse what are no questions.

    Parameters
    ----------
    source
        Where they were handed in.
    problems
        Questions of sites.

    Raises
    ------
    ProblemError
        If one is of another kind, or they are no sequence.
    """
    check_argument_types(source, problems=(problems, Sequence))
    check_argument_types(
        source, **{f"problems[{i}]": (one, Problem) for i, one in enumerate(problems)}
    )


def check_fleet(fleet: Sequence[Site], routes: Mapping[str, FleetRoute]) -> None:
    """Refuse what makes no sense whatever the week brings.

    Parameters
    ----------
    fleet
        Sites that are to share work.
    routes
        Name -> which work may move from where to where.

    Raises
    ------
    ProblemError
        If sites and routes do not fit together; all faults are told at once.
    """
    _refuse(list(_sense_of(fleet, routes)))


def _refuse(faults: list[ValidationIssue]) -> None:
    if faults:
        raise ProblemError("fleet", faults)


def _with_routes(problem: Problem, routes: Mapping[str, FleetRoute], block: float) -> Problem:
    """Return a question with its lanes."""
    site = problem.site
    migration_routes = tuple(
        MigrationRoute(
            name=name,
            kind=route.kind,
            can_send=_is_among(site.name, route.origins) and route.kind in site.work,
            can_host=_is_among(site.name, route.hosts) and route.kind in site.work,
            transfer_time=route.transfer_time,
            window=route.window,
            job_length=route.job_length,
            send_cost=route.transfer_cost,
        )
        for name, route in routes.items()
    )
    outlook = add_incoming_cohorts(problem.outlook, site, migration_routes)
    return replace(
        problem,
        outlook=outlook,
        migration=open_migration(migration_routes, problem.hours, block=block),
    )


def _is_among(name: str, sites: Sequence[str] | None) -> bool:
    return sites is None or name in sites


def _sense_of(fleet: Sequence[Site], routes: Mapping[str, FleetRoute]) -> Iterator[ValidationIssue]:
    """Yield what keeps sites from being a fleet, and what no route can mean."""
    yield from _sense_of_sites(fleet)
    yield from _sense_of_routes(fleet, routes)


def _sense_of_sites(fleet: Sequence[Site]) -> Iterator[ValidationIssue]:
    names = [site.name for site in fleet]
    if len(names) <= 1:
        yield ValidationIssue(
            location="sites", found=", ".join(names), remedy="a fleet has two sites at least"
        )
    yield from find_duplicates(names, place="sites")
    for site in fleet:
        power, as_first = (RackPool.from_site(one).rack_power for one in (site, fleet[0]))
        if abs(power - as_first) > RACK_POWER_TOLERANCE_SHARE * as_first:
            remedy = f"must be {as_first:g} MW, as at {fleet[0].name}: work is told in MWh"
            yield ValidationIssue(
                location=f"{site.name}, power of a rack", found=f"{power:g} MW", remedy=remedy
            )


def find_duplicates(names: Sequence[str], *, place: str) -> Iterator[ValidationIssue]:
    """Yield each name that sites of a fleet share; decisions and routes are told by it."""
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield ValidationIssue(location=place, found=name, remedy="every site once")


def check_same_axes(source: str, problems: Sequence[Problem]) -> None:
    """Refuse what cannot be decided together: no site, a name twice, other times or lanes.

    Parameters
    ----------
    source
        Where they were handed in.
    problems
        Questions of sites, with lanes.

    Raises
    ------
    ProblemError
        If one is of another kind, or they do not fit together; all faults are told at once.

    Notes
    -----
    Where only the numbers of blocks and lanes fit, work would leave by one and come by another.
    """
    check_problem_types(source, problems)
    faults = list(_unlike(problems))
    if not problems:
        faults.append(
            ValidationIssue(location="problems", found="none", remedy="name two sites at least")
        )
    if faults:
        raise ProblemError(source, faults)


def _unlike(problems: Sequence[Problem]) -> Iterator[ValidationIssue]:
    """Yield what keeps questions from being decided together."""
    yield from find_duplicates([problem.site.name for problem in problems], place="problems")
    yield from _sense_of_times(problems)
    for problem in problems:
        remedy = "give all questions to one `share`"
        if problem.migration is None:
            yield ValidationIssue(location=problem.site.name, found="no lanes", remedy=remedy)
        elif _lanes(problem) != _lanes(problems[0]):
            remedy = f"must be those of {problems[0].site.name}: {remedy}"
            yield ValidationIssue(location=f"{problem.site.name}, lanes", found="", remedy=remedy)


def _lanes(problem: Problem) -> object:
    """Return what all sites must see alike of the lanes of a question."""
    if (migration := problem.migration) is None:
        return None
    same = ("name", "kind", "transfer_time", "window", "job_length")
    return migration.edges, [
        [getattr(lane, word) for word in same] for lane in migration.migration_routes
    ]


def _sense_of_times(problems: Sequence[Problem]) -> Iterator[ValidationIssue]:
    for problem in problems:
        own, first = problem.outlook["instant"], problems[0].outlook["instant"]
        if not np.array_equal(own.to_numpy(), first.to_numpy()):
            remedy = f"must have the intervals of {problems[0].site.name}"
            yield ValidationIssue(location=f"{problem.site.name}, instant", found="", remedy=remedy)


def _sense_of_routes(
    fleet: Sequence[Site], routes: Mapping[str, FleetRoute]
) -> Iterator[ValidationIssue]:
    known = {site.name: site for site in fleet}
    if not routes:
        yield ValidationIssue(
            location="routes", found="none", remedy="name a kind of work that may move"
        )
    for name, route in routes.items():
        yield from _sense_of_ends(name, route, known)
        if not any(route.kind in site.work for site in known.values()):
            yield ValidationIssue(
                location=f"routes.{name}.kind", found=route.kind, remedy="no site does it"
            )
        if route.transfer_cost > MAX_ENERGY_PRICE_EUR_MWH:
            shown = f"{route.transfer_cost:g} EUR/MWh"
            most = f"{MAX_ENERGY_PRICE_EUR_MWH:g} EUR/MWh"
            remedy = f"must not exceed {most}, the price of the data included"
            yield ValidationIssue(location=f"routes.{name}.data", found=shown, remedy=remedy)
        if route.job_length > route.window:
            remedy = f"must not exceed the window of {route.window:g} h: no job could be done in it"
            yield ValidationIssue(
                location=f"routes.{name}.job_length", found=f"{route.job_length:g} h", remedy=remedy
            )


def _sense_of_ends(
    name: str, route: FleetRoute, known: Mapping[str, Site]
) -> Iterator[ValidationIssue]:
    """Yield sites that a route cannot begin or end at."""
    for direction, given in (("origins", route.origins), ("hosts", route.hosts)):
        place = f"routes.{name}.{direction}"
        if given == ():
            yield ValidationIssue(
                location=place, found="[]", remedy="name a site; all are meant if left out"
            )
        for site in given or ():
            if site not in known:
                yield ValidationIssue(
                    location=place, found=site, remedy=f"the sites are {', '.join(known)}"
                )
            elif route.kind not in known[site].work:
                remedy = f"{site} does no {route.kind}: it knows {', '.join(known[site].work)}"
                yield ValidationIssue(location=place, found=site, remedy=remedy)
