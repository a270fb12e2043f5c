"""A fleet in closed loop: sites settle every hour which waiting jobs move, beside each alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from optimizer.fleet.parcels import Parcel, parcels_of
from optimizer.fleet.question import check, share
from optimizer.fleet.together import decide_together
from optimizer.policies import REPLAN, View
from optimizer.service.trials.backtest import run
from optimizer.service.trials.seat import Seat
from optimizer.service.trials.setting import Setting
from optimizer.service.trials.trial import Trial
from twin.declarations import FleetRoute
from twin.errors import NoScheduleError, ProblemError, SolverError, ValidationIssue
from twin.time_axes import HOUR
from twin.units import format_minute

ALONE: Final = "optimal"
SHARED: Final = "shared"
"""Names of the policies: each site by itself, and with the others."""

type Listener = Callable[[str, str, int, int], None]
"""Told of progress: policy, site or sites, quarter-hours done, quarter-hours in all."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What sharing was worth in a run.

    Attributes
    ----------
    alone, shared
        Site -> its trial by itself, and with the others; on the same plants.
    parcels
        What moved, in order.
    undecided
        Moments at which the sites found no common plan -> why: each decided alone, nothing moved.
    """

    alone: Mapping[str, Trial]
    shared: Mapping[str, Trial]
    parcels: tuple[Parcel, ...]
    undecided: Mapping[str, str]

    @property
    def move_cost(self) -> float:
        """What moving cost. [EUR]"""
        return sum(parcel.cost for parcel in self.parcels)

    @property
    def saved(self) -> float:
        """What all sites paid less than alone, moving counted, as objectives weigh it. [EUR]"""
        alone, shared = (_objective(trials) for trials in (self.alone, self.shared))
        return alone - shared - self.move_cost

    def sent(self, site: str) -> float:
        """Return the work that left a site. [MWh]"""
        return sum(parcel.energy for parcel in self.parcels if parcel.origin == site)

    def taken(self, site: str) -> float:
        """Return the work that came to a site. [MWh]"""
        return sum(parcel.energy for parcel in self.parcels if parcel.host == site)

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin fleet --days N --json`` writes."""
        sites = {
            name: {
                "alone": asdict(self.alone[name].summary),
                "shared": asdict(self.shared[name].summary),
                "sends_mwh": round(self.sent(name), 3),
                "takes_in_mwh": round(self.taken(name), 3),
            }
            for name in self.alone
        }
        return {
            "sites": sites,
            "parcels": [_told(parcel) for parcel in self.parcels],
            "objective_alone": round(_objective(self.alone), 2),
            "objective": round(_objective(self.shared) + self.move_cost, 2),
            "move_cost": round(self.move_cost, 2),
            "saved": round(self.saved, 2),
            "undecided": dict(self.undecided),
        }


def run_shared(
    settings: Sequence[Setting],
    routes: Mapping[str, FleetRoute],
    *,
    seed: int = 0,
    cluster: str | None = None,
    listen: Listener = lambda *_: None,
) -> Shared:
    """Run sites alone, then with one another, on the same plants.

    Parameters
    ----------
    settings
        Their worlds and work, over the same days.
    routes
        Name -> which work may move from where to where.
    seed
        Seed of the plants. [1]
    cluster
        Address of a Dask scheduler whose workers ask the sites.
    listen
        Told of progress.

    Raises
    ------
    ProblemError
        If sites, routes and days do not fit together; before anything is run.

    Notes
    -----
    Nothing is foreseen: every hour all plan together from what is known then, the jobs to be sent
    in that hour leave at once, and each site steers by its part. Jobs keep their deadlines
    wherever they go, so that who promised too much is late and pays.
    """
    check([setting.site for setting in settings], routes)
    _check_days(settings)
    alone = {setting.site.name: _alone(setting, seed=seed, listen=listen) for setting in settings}
    seats = [Seat(setting, seed=seed) for setting in settings]
    count, names = settings[0].truth.sizes["time"], ", ".join(alone)
    parcels: list[Parcel] = []
    undecided: dict[str, str] = {}
    for number in range(count):
        views = [seat.looks() for seat in seats]
        if seats[0].policy.is_due(views[0].now):
            try:
                parcels += _exchanged(seats, views, routes, cluster=cluster)
            except (NoScheduleError, SolverError) as error:  # each decides alone now
                undecided[format_minute(views[0].now)] = str(error)
        for seat, view in zip(seats, views, strict=True):
            seat.play(view)
        listen(SHARED, names, number + 1, count)
    return Shared(
        alone=alone,
        shared={seat.name: seat.trial(SHARED) for seat in seats},
        parcels=tuple(parcels),
        undecided=undecided,
    )


def _alone(setting: Setting, *, seed: int, listen: Listener) -> Trial:
    """Return what a site does by itself."""
    name = setting.site.name
    return run(setting, ALONE, seed=seed, listen=lambda _, __, *steps: listen(ALONE, name, *steps))


def _check_days(settings: Sequence[Setting]) -> None:
    """Refuse sites that are not run over the same days."""
    first, *others = settings
    days = f"{format_minute(first.world.start)} to {format_minute(first.world.end)}"
    faults = [
        ValidationIssue(
            place=f"{one.site.name}, days",
            value=f"{format_minute(one.world.start)} to {format_minute(one.world.end)}",
            mend=f"must be those of {first.site.name}, {days}",
        )
        for one in others
        if (one.world.start, one.world.end) != (first.world.start, first.world.end)
    ]
    if faults:
        raise ProblemError("fleet", faults)


def _exchanged(
    seats: Sequence[Seat],
    views: Sequence[View],
    routes: Mapping[str, FleetRoute],
    *,
    cluster: str | None,
) -> list[Parcel]:
    """Plan for all, and let go what leaves now."""
    both = list(zip(seats, views, strict=True))
    grids = [seat.policy.horizon(view) for seat, view in both]
    grid = max(grids, key=lambda axes: axes.sizes["time"])
    problems = share([seat.policy.asks(seat.foresees(view), grid) for seat, view in both], routes)
    last = {seat.name: seat.policy.last for seat in seats if seat.policy.last}
    found = decide_together(problems, previous=last, cluster=cluster)
    by_name = {seat.name: seat for seat in seats}
    for name, decision in found.decisions.items():
        by_name[name].policy.take(decision, views[0].now)
    queues, hours = [seat.queue for seat in seats], float(REPLAN / HOUR)
    parcels = list(parcels_of(problems, found.nets, queues, hours=hours))
    for parcel in parcels:
        by_name[parcel.origin].send(parcel)
        by_name[parcel.host].welcome(parcel)
    return parcels


def _objective(trials: Mapping[str, Trial]) -> float:
    return sum(trial.bill.objective for trial in trials.values())


def _told(parcel: Parcel) -> dict[str, object]:
    """Return a parcel as plain values."""
    return {
        "lane": parcel.lane,
        "origin": parcel.origin,
        "host": parcel.host,
        "leaves": format_minute(parcel.leaves),
        "ready": format_minute(parcel.ready),
        "jobs": len(parcel.jobs),
        "mwh": round(parcel.energy, 3),
        "cost_eur": round(parcel.cost, 2),
    }
