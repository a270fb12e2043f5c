"""Small random sites, and their least cost in an independent model.

The other one is written straight from the equations of docs/explanation as a program in whole
numbers for SciPy: each machine by itself, no segments, no slots, no ledger. Both ways of a battery
and of the connection exclude one another by binaries, so waste does not pay in it either.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from tests.support import hand
from twin.equipment import Battery, GridConnection, Photovoltaic

LATENESS = 100.0
"""What :func:`tests.support.hand.site` pays for a MWh that is late, for each hour. [EUR]"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A site and its hourly inputs; powers in MW, prices in EUR/MWh or EUR/MW."""

    price: np.ndarray
    service: np.ndarray
    sun: np.ndarray
    sun_price: float
    import_limit: float
    export_limit: float
    import_fee: float
    export_fee: float
    peak_price: float
    peak: float
    power: float
    efficiency: float
    wear_price: float
    terminal: float
    jobs: tuple[tuple[str, np.ndarray, np.ndarray, float], ...]

    @property
    def steps(self):
        return len(self.price)


CAPACITY, LEVEL = 4.0, 2.0
"""Of the battery. [MWh]"""


def drawn(seed):
    """Return a random case."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(3, 13))

    def some(*values):
        return float(rng.choice(values))

    jobs = []
    for name in ("batch", "bent")[: int(rng.integers(0, 3))]:
        most = np.cumsum(rng.uniform(0.0, 2.0, steps)).round(2)
        least = np.maximum(most - rng.uniform(0.0, 6.0), 0.0).round(2)
        jobs.append((name, np.maximum.accumulate(least), most, some(3.0, 6.0, 10.0)))
    return Case(
        price=rng.normal(some(5.0, 40.0), 40.0, steps).round(1),
        service=rng.uniform(0.0, 3.0, steps).round(1),
        sun=np.clip(rng.normal(3.0, 4.0, steps), 0.0, 6.0).round(1),
        sun_price=some(0.0, 20.0),
        import_limit=some(9.5, 12.0, 100.0),
        export_limit=some(0.0, 2.0, 8.0),
        import_fee=some(0.0, 12.5),
        export_fee=some(0.0, 3.0),
        peak_price=some(0.0, 20.0, 60.0),
        peak=some(0.0, 2.0, 4.0),
        power=some(1.0, 2.5),
        efficiency=some(0.9, 1.0),
        wear_price=some(0.0, 4.0),
        terminal=some(-20.0, 0.0, 60.0),
        jobs=tuple(jobs),
    )


def ours(case):
    """Return the case as a problem of the optimiser."""
    connection = GridConnection.model_construct(
        name="grid",
        import_limit=case.import_limit,
        export_limit=case.export_limit,
        ramp=1000.0,
        peak_price=case.peak_price,
        import_fee=case.import_fee,
        export_fee=case.export_fee,
    )
    battery = Battery.model_construct(
        name="battery",
        capacity=CAPACITY,
        power=case.power,
        charge_efficiency=case.efficiency,
        discharge_efficiency=case.efficiency,
        wear_price=case.wear_price,
    )
    sun = Photovoltaic.model_construct(name="sun", power=6.0, price=case.sun_price)
    work = [hand.kind("batch"), hand.kind("bent", throughput=hand.BENT)]
    where = hand.site(battery, sun, connection=connection, work=work)
    ahead = hand.outlook(
        case.price, service=case.service, jobs=case.jobs, sun=case.sun, terminal=case.terminal
    )
    return hand.problem(where, ahead, level=LEVEL / CAPACITY, peak=case.peak)


class Program:
    """A mixed-integer program, column by column and row by row."""

    def __init__(self):
        self._low, self._high, self._cost, self._whole, self._rows = [], [], [], [], []
        self.constant = 0.0

    def column(self, high, cost=0.0, *, low=0.0, is_whole=False):
        """Add a column, and return its number."""
        for many, value in (
            (self._low, low),
            (self._high, high),
            (self._cost, cost),
            (self._whole, is_whole),
        ):
            many.append(value)
        return len(self._cost) - 1

    def row(self, terms, low, high):
        """Add a row of (column, factor)."""
        self._rows.append((terms, low, high))

    def either(self, one, most, other, other_most):
        """Allow at most one of two columns above zero."""
        way = self.column(1.0, is_whole=True)
        self.row([(one, 1.0), (way, -most)], -np.inf, 0.0)
        self.row([(other, 1.0), (way, other_most)], -np.inf, other_most)

    def least(self):
        """Return the least cost. [EUR]"""
        entries = [
            (value, row, at) for row, (terms, _, _) in enumerate(self._rows) for at, value in terms
        ]
        value, row, at = (np.array(many) for many in zip(*entries, strict=True))
        matrix = csr_array((value, (row, at)), shape=(len(self._rows), len(self._cost)))
        _, low, high = zip(*self._rows, strict=True)
        found = milp(
            np.array(self._cost),
            constraints=LinearConstraint(matrix, low, high),
            bounds=Bounds(self._low, self._high),
            integrality=np.array(self._whole, dtype=int),
            options={"mip_rel_gap": 1e-7},
        )
        assert found.x is not None, found.message
        return float(found.fun) + self.constant


def least_cost(case):
    """Return the least cost of the case. [EUR]"""
    program, worth = Program(), max(case.terminal, 0.0) + case.import_fee
    balance = [_connection(program, case, t) for t in range(case.steps)]
    net = [list(terms) for terms in balance]
    for t, given in enumerate(case.sun):
        balance[t].append((program.column(given, case.sun_price), 1.0))
    _battery(program, case, balance, worth=worth)
    racks = [[] for _ in balance]
    for job in case.jobs:
        _work(program, job, balance, racks=racks, worth=worth)
    peak = program.column(np.inf, case.peak_price)
    for t, service in enumerate(case.service):
        program.row(balance[t], service, service)
        program.row(racks[t], -np.inf, 10.0 - service)
        program.row([*net[t], (peak, -1.0)], -np.inf, case.peak)
    return program.least()


def _connection(program, case, t):
    """Add import and export of an hour, and return their part of its balance."""
    taken = program.column(case.import_limit, case.price[t] + case.import_fee)
    given = program.column(case.export_limit, case.export_fee - case.price[t])
    program.either(taken, case.import_limit, given, case.export_limit)
    return [(taken, 1.0), (given, -1.0)]


def _battery(program, case, balance, *, worth):
    """Add a battery, whose final energy has the terminal value."""
    left, last = max(worth - case.wear_price, 0.0) * case.efficiency, None
    for t, terms in enumerate(balance):
        charge = program.column(case.power)
        discharge = program.column(case.power, case.wear_price)
        program.either(charge, case.power, discharge, case.power)
        level = program.column(CAPACITY, -left if t == case.steps - 1 else 0.0)
        row = [(level, 1.0), (charge, -case.efficiency), (discharge, 1.0 / case.efficiency)]
        before = LEVEL if last is None else 0.0
        program.row(row if last is None else [*row, (last, -1.0)], before, before)
        terms += [(discharge, 1.0), (charge, -1.0)]
        last = level


def _work(program, job, balance, *, racks, worth):
    """Add movable work between its lower and upper bound; racks take 1 MW each."""
    name, least, most, limit = job
    assert name in {"batch", "bent"}  # neither kind tolerates a cap, so both run at full power
    before = None
    for t, terms in enumerate(balance):
        is_last = t == len(balance) - 1
        met = program.column(most[t], -worth if is_last else 0.0, low=least[t])
        late = program.column(least[t], LATENESS + (worth if is_last else 0.0))
        run = program.column(limit)
        row = [(met, 1.0), (late, -1.0), (run, -1.0)]
        program.row(row if before is None else row + before, 0.0, 0.0)
        before = [(met, -1.0), (late, 1.0)]
        terms.append((run, -1.0))
        racks[t].append((run, 1.0))
    program.constant += worth * most[-1]
