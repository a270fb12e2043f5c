"""Migration routes of a fleet: equal at all sites, and open where work may leave or arrive."""

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
from twin.argument_checks import check_argument_types
from twin.errors import IssueCode, ProblemError, ValidationIssue
from twin.physics import FloatArray
from twin.site import Site
from twin.site_settings import FleetRoute
from twin.units import MAX_ENERGY_PRICE_EUR_MWH
from twin.workload.queue import RackPool

RACK_POWER_TOLERANCE_SHARE: Final = 1e-6
"""Relative difference below which the racks of two sites count as equal. [1]"""

WORK_TOLERANCE_MWH: Final = 1e-6
"""Work that is treated as zero; solvers leave such residues. [MWh]"""


def build_fleet_problems(
    problems: Sequence[Problem], routes: Mapping[str, FleetRoute], *, block: float = MIN_BLOCK_H
) -> tuple[Problem, ...]:
    """Return the problems of sites that exchange work, with routes and incoming cohorts.

    Work is measured in MWh of uncapped racks, so that racks of all sites must draw the same power.

    - `block`: shortest time over which migration is settled. [h]

    Raises ProblemError if sites, routes or intervals do not fit together; all issues at once.
    """
    check_problem_types("build_fleet_problems", problems)
    check_argument_types("build_fleet_problems", routes=(routes, Mapping))
    check_argument_types(
        "build_fleet_problems",
        **{f"routes, {name}": (one, FleetRoute) for name, one in routes.items()},
    )
    ProblemError.raise_if_any(
        "fleet",
        [*_fleet_issues([problem.site for problem in problems], routes), *_time_issues(problems)],
    )
    return tuple(_with_routes(problem, routes, block) for problem in problems)


def with_fixed_migration(problem: Problem, net: FloatArray) -> Problem:
    """Return the problem of a site with fixed migration.

    Without any migration it is the problem of the site alone, whose work may hold reserves too.
    `net` is the work sent less the work received, ``(block, route)``, in work of the fleet [MWh].
    """
    if problem.migration is None or not (np.abs(net) > WORK_TOLERANCE_MWH).any():
        return replace(problem, outlook=remove_incoming_cohorts(problem.outlook), migration=None)
    return replace(problem, migration=problem.migration.with_fixed_net(net))


def check_problem_types(source: str, problems: Sequence[Problem]) -> None:
    """Check that `problems` is a sequence of problems; `source` names the caller."""
    check_argument_types(source, problems=(problems, Sequence))
    check_argument_types(
        source, **{f"problems[{i}]": (one, Problem) for i, one in enumerate(problems)}
    )


def check_fleet(fleet: Sequence[Site], routes: Mapping[str, FleetRoute]) -> None:
    """Check sites and routes independently of any forecast.

    Raises ProblemError if they do not fit together; all issues at once.
    """
    ProblemError.raise_if_any("fleet", list(_fleet_issues(fleet, routes)))


def _with_routes(problem: Problem, routes: Mapping[str, FleetRoute], block: float) -> Problem:
    """Return the problem of a site with its routes."""
    site = problem.site
    migration_routes = tuple(
        MigrationRoute(
            name=name,
            kind=route.kind,
            can_send=_is_listed(site.name, route.origins) and route.kind in site.work,
            can_receive=_is_listed(site.name, route.hosts) and route.kind in site.work,
            transfer_time=route.transfer_time,
            arrival_to_deadline=route.window,
            job_length=route.job_length,
            send_cost=route.transfer_cost,
        )
        for name, route in routes.items()
    )
    outlook = add_incoming_cohorts(problem.outlook, site, migration_routes)
    return replace(
        problem,
        outlook=outlook,
        migration=open_migration(migration_routes, problem.interval_hours, block=block),
    )


def _is_listed(name: str, sites: Sequence[str] | None) -> bool:
    return sites is None or name in sites


def _fleet_issues(
    fleet: Sequence[Site], routes: Mapping[str, FleetRoute]
) -> Iterator[ValidationIssue]:
    """Yield the reasons why sites and routes are no fleet."""
    yield from _site_issues(fleet)
    yield from _route_issues(fleet, routes)


def _site_issues(fleet: Sequence[Site]) -> Iterator[ValidationIssue]:
    names = [site.name for site in fleet]
    if len(names) <= 1:
        yield IssueCode.MISSING.issue(
            "sites",
            found=", ".join(names),
            expected="a fleet has at least two sites",
            remedy="name another site",
        )
    yield from _duplicate_names(names, location="sites")
    for site in fleet:
        power, reference = (RackPool.from_site(one).rack_power for one in (site, fleet[0]))
        if abs(power - reference) > RACK_POWER_TOLERANCE_SHARE * reference:
            yield IssueCode.INCONSISTENT.issue(
                f"{site.name}, power of a rack",
                found=f"{power:g} MW",
                expected=f"{reference:g} MW, as at {fleet[0].name}: sites exchange work in MWh",
                remedy="plan for sites with equal racks",
            )


def _duplicate_names(names: Sequence[str], *, location: str) -> Iterator[ValidationIssue]:
    """Yield each name that two sites of a fleet share; decisions and routes refer to it."""
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield IssueCode.DUPLICATE.issue(
            location, found=name, expected="each site occurs once", remedy="remove the second one"
        )


def check_same_axes(source: str, problems: Sequence[Problem]) -> None:
    """Check that problems can be planned together: distinct sites, equal times and routes.

    Equal numbers of blocks and routes do not suffice: work would leave by one route and arrive by
    another. `source` names the calling function.

    Raises ProblemError: with all issues at once.
    """
    check_problem_types(source, problems)
    issues = list(_axes_issues(problems))
    if not problems:
        issues.append(
            IssueCode.MISSING.issue(
                "problems",
                found="none",
                expected="a fleet has at least two sites",
                remedy="pass the problem of each site",
            )
        )
    ProblemError.raise_if_any(source, issues)


def _axes_issues(problems: Sequence[Problem]) -> Iterator[ValidationIssue]:
    """Yield the reasons why problems cannot be planned together."""
    yield from _duplicate_names([problem.site.name for problem in problems], location="problems")
    yield from _time_issues(problems)
    remedy = "build all problems by one call of build_fleet_problems"
    for problem in problems:
        if problem.migration is None:
            yield IssueCode.MISSING.issue(
                problem.site.name,
                found="no routes",
                expected="the problem has migration routes",
                remedy=remedy,
            )
        elif _shared_route_values(problem) != _shared_route_values(problems[0]):
            yield IssueCode.WRONG_AXES.issue(
                f"{problem.site.name}, routes",
                expected=f"the routes of {problems[0].site.name}",
                remedy=remedy,
            )


def _shared_route_values(problem: Problem) -> object:
    """Return the values of the routes that must be equal at all sites."""
    if (migration := problem.migration) is None:
        return None
    names = ("name", "kind", "transfer_time", "arrival_to_deadline", "job_length")
    return migration.block_edges, [
        [getattr(route, name) for name in names] for route in migration.migration_routes
    ]


def _time_issues(problems: Sequence[Problem]) -> Iterator[ValidationIssue]:
    for problem in problems:
        own, first = problem.outlook["instant"], problems[0].outlook["instant"]
        if not np.array_equal(own.to_numpy(), first.to_numpy()):
            yield IssueCode.WRONG_AXES.issue(
                f"{problem.site.name}, instant",
                expected=f"the intervals of {problems[0].site.name}",
                remedy="build all problems on one horizon",
            )


def _route_issues(
    fleet: Sequence[Site], routes: Mapping[str, FleetRoute]
) -> Iterator[ValidationIssue]:
    known = {site.name: site for site in fleet}
    if not routes:
        yield IssueCode.MISSING.issue(
            "routes",
            found="none",
            expected="at least one route",
            remedy="name a kind of work that may move",
        )
    for name, route in routes.items():
        yield from _endpoint_issues(name, route, known)
        if not any(route.kind in site.work for site in known.values()):
            yield IssueCode.UNKNOWN_NAME.issue(
                f"routes.{name}.kind",
                found=route.kind,
                expected="a kind of work of the sites",
                remedy="name one of them",
            )
        if route.transfer_cost > MAX_ENERGY_PRICE_EUR_MWH:
            yield IssueCode.OUT_OF_RANGE.issue(
                f"routes.{name}.data",
                found=f"{route.transfer_cost:g} EUR/MWh",
                expected=f"at most {MAX_ENERGY_PRICE_EUR_MWH:g} EUR/MWh, price of data included",
                remedy="correct the data or their price",
            )
        if route.job_length > route.window:
            yield IssueCode.INCONSISTENT.issue(
                f"routes.{name}.job_length",
                found=f"{route.job_length:g} h",
                expected=f"at most the window of {route.window:g} h",
                remedy="shorten the jobs or extend the window",
            )


def _endpoint_issues(
    name: str, route: FleetRoute, known: Mapping[str, Site]
) -> Iterator[ValidationIssue]:
    """Yield sites at which a route cannot begin or end."""
    for direction, named in (("origins", route.origins), ("hosts", route.hosts)):
        location = f"routes.{name}.{direction}"
        if named == ():
            yield IssueCode.MISSING.issue(
                location,
                found="[]",
                expected="at least one site",
                remedy="name a site, or omit the key for all sites",
            )
        for site in named or ():
            if site not in known:
                expected = f"one of {', '.join(known)}"
            elif route.kind not in known[site].work:
                expected = f"a site with {route.kind}; {site} has {', '.join(known[site].work)}"
            else:
                continue
            yield IssueCode.UNKNOWN_NAME.issue(
                location, found=site, expected=expected, remedy="name another site"
            )
