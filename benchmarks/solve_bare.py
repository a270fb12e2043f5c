"""The limit of the solver's benches: the model of a site written by hand, straight into arrays.

No Pyomo and nothing of our compiler: positions are counted here, and every cycle writes its numbers
where they belong. It reads the same questions and curves, and must find the same optimum. Rows and
columns stand in the order of our models, since the simplex takes another path through every order,
up to three times as long: so the ratio is that of the routes, not of luck.
"""

from collections import defaultdict

import highspy
import numpy as np

from benchmarks.solve_layout import Layout
from optimizer.model.components.storage import target_levels
from optimizer.model.model_data import CAP_LEVEL_COUNT, cap_levels
from optimizer.model.objective import RAMP_PENALTY_EUR_PER_MW
from optimizer.solver.highs import (
    COLD_START_OPTIONS,
    LP_OPTIONS,
    choose_simplex_strategy,
    set_options,
)
from twin.feasibility.connection import MEAN_RAMP_SHARE
from twin.markets.tariffs import month_numbers
from twin.workload.queue import RackPool


class Quiet(highspy.Highs):
    def enableCallbacks(self):  # noqa: N802  (the solver's name)
        pass


class Bare:
    """One site's model; `fill` writes the numbers of a question into its arrays."""

    def __init__(self, inputs):
        self.site, self.steps = inputs.problem.site, len(inputs.interval_hours)
        self.kinds = inputs.problem.outlook.sizes["cohort"]
        self.layout = layout = Layout(self.steps)
        self.balance = layout.balance
        self._declare(inputs)
        layout.close()
        self.columns, self.rows = layout.columns, layout.rows
        self.start, self.index, self.value = layout.start, layout.index, layout.value
        self.low, self.cost = np.zeros(self.columns), np.zeros(self.columns)
        self.high = np.full(self.columns, np.inf)
        self.row_low, self.row_high = np.zeros(self.rows), np.zeros(self.rows)

    def fits(self, inputs):
        """Return whether a question has as many segments as this model."""
        return all(
            inputs.curves[owner].segment_widths.shape == at.shape
            for owner, at in self.segments.items()
        )

    def _declare(self, inputs):
        n, site = self.steps, self.site
        column, row, add = self.layout.column, self.layout.row, self.layout.add
        self.segments, self.secants, self.stores, self.trades = {}, {}, {}, {}
        for c in site.conversions:
            pieces = inputs.curves[c.owner].segment_widths.shape[1]
            s = self.segments[c.owner] = column(n, pieces)
            add(self.balance[c.output_carrier][:, None], s, 1.0)
            for carrier in c.input_carriers:
                add(self.balance[carrier][:, None], s, f"{c.owner}/{carrier}")
            if pieces > 1:
                self.secants[c.owner] = row(n)
                add(self.secants[c.owner][:, None], s, f"{c.owner}/secant")
            for e in (e for e in site.exchanges if e.owner == c.owner):
                self.trades[e.owner] = self._exchange(e, inputs)
        for s in site.stores:
            into, out, level = column(n), column(n), column(n + 1)
            keeps, one_way = row(n), row(n)
            self.stores[s.owner] = into, out, level, one_way
            add(keeps, level[1:], 1.0)
            add(keeps, level[:-1], f"{s.owner}/kept")
            add(keeps, into, f"{s.owner}/gained")
            add(keeps, out, f"{s.owner}/taken")
            add(one_way, into, 1.0 / s.charge_limit)
            add(one_way, out, 1.0 / s.discharge_limit)
            add(self.balance[s.carrier], out, 1.0)
            add(self.balance[s.carrier], into, -1.0)
        for e in site.exchanges:
            if e.owner not in self.trades:
                self.trades[e.owner] = self._exchange(e, inputs)
        self.peaks = []
        for peak in site.demand_charges:
            over, at = column(2), row(n)
            add(at, self.trades[peak.owner][0], 1.0)
            add(at[:, None], over, f"{peak.owner}/months")
            self.peaks.append((peak, over, at))
        self._declare_work()

    def _declare_work(self):
        n, k = self.steps, self.kinds
        column, row, add = self.layout.column, self.layout.row, self.layout.add
        self.racks, self.used = column(n, k, CAP_LEVEL_COUNT), column(n)
        self.met, self.late = column(n + 1, k), column(n + 1, k)
        progress, uses = row(n, k), row(n)
        self.jobs, self.within = row(n, k), row(n)
        for at, sign in ((self.met, 1.0), (self.late, -1.0)):
            add(progress, at[1:], sign)
            add(progress, at[:-1], -sign)
        add(progress[:, :, None], self.racks, "work")
        add(uses, self.used, 1.0)
        add(uses[:, None, None], self.racks, "power")
        add(self.jobs[:, :, None], self.racks, 1.0)
        add(self.within[:, None, None], self.racks, 1.0)
        self.shares = defaultdict(float)
        racks = sum(work.racks for work in self.site.flexible_loads)
        for work in self.site.flexible_loads:
            for carrier, share in {work.carrier: 1.0, **work.heat_shares}.items():
                self.shares[carrier] += share * work.racks / racks
        for carrier, share in self.shares.items():
            add(self.balance[carrier], self.used, -share)
        self.water = column(n)
        add(self.balance["water"], self.water, 1.0)

    def _exchange(self, exchange, inputs):
        n, column, add = self.steps, self.layout.column, self.layout.add
        bought, sold = column(n), column(n)
        add(self.balance[exchange.carrier], bought, 1.0)
        add(self.balance[exchange.carrier], sold, -1.0)
        return bought, sold, *self._ramp(exchange, bought, sold, inputs)

    def _ramp(self, exchange, bought, sold, inputs):
        allowed = MEAN_RAMP_SHARE * exchange.ramp_limit * 60.0 * inputs.interval_hours
        if not ((allowed > 0.0) & (allowed < exchange.import_limit + exchange.export_limit)).all():
            return None, None, None
        n, row, add = self.steps, self.layout.row, self.layout.add
        over = self.layout.column(n)
        later = row(n - 1), row(n - 1)
        up, down = (np.concatenate([row(1), rows]) for rows in later)
        for at, sign in ((up, 1.0), (down, -1.0)):
            add(at, bought, sign)
            add(at, sold, -sign)
            add(at[1:], bought[:-1], -sign)
            add(at[1:], sold[:-1], sign)
            add(at, over, -1.0)
        return over, up, down

    def fill(self, inputs):
        """Write the numbers of a question."""
        problem, hours, n = inputs.problem, inputs.interval_hours, self.steps
        low, high, cost = self.low, self.high, self.cost
        cost[:] = 0.0
        self.row_high[:] = self.row_low[:] = 0.0
        weight, fed = problem.weights, {}
        rest = {carrier: np.zeros(n) for carrier in self.balance}
        for c in self.site.conversions:
            curve, s = inputs.curves[c.owner], self.segments[c.owner]
            high[s] = curve.segment_widths
            rest[c.output_carrier] += curve.min_output
            for carrier in c.input_carriers:
                fed[f"{c.owner}/{carrier}"] = -curve.segment_slopes[carrier]
                rest[carrier] -= curve.draw_at_min_output[carrier]
            if c.owner in self.secants:
                lead = (
                    curve.segment_slopes[c.primary_input]
                    - curve.end_to_end_slope(c.primary_input)[:, None]
                )
                fed[f"{c.owner}/secant"] = lead
                self.row_low[self.secants[c.owner]] = -np.inf
        for s in self.site.stores:
            into, out, level, one_way = self.stores[s.owner]
            fed[f"{s.owner}/kept"] = -((1.0 - s.standing_loss) ** hours)
            fed[f"{s.owner}/gained"] = -hours * s.charge_efficiency
            fed[f"{s.owner}/taken"] = hours / s.discharge_efficiency
            high[into], high[out] = s.charge_limit, s.discharge_limit
            low[level[0]] = high[level[0]] = problem.initial_level(s)
            low[level[1:]], high[level[1:]] = target_levels(s, problem)
            self.row_low[one_way], self.row_high[one_way] = -np.inf, 1.0
            cost[out] = weight["money"] * s.wear_cost * hours
            worth = max(inputs.terminal_value.get(s.carrier, 0.0) - s.wear_cost, 0.0)
            cost[level[-1]] = -worth * s.discharge_efficiency
        self._trade(inputs, fed)
        pool = RackPool.from_site(self.site)
        kinds = [self.site.work[str(name)] for name in problem.outlook["kind"].to_numpy()]
        power = np.array([pool.power_above_idle(cap_levels(kind)) for kind in kinds])
        work = pool.rack_power * np.array(
            [kind.throughput.throughput_at(cap_levels(kind)) for kind in kinds]
        )
        fed["work"] = -hours[:, None, None] * work
        fed["power"] = np.broadcast_to(-power, self.racks.shape)
        limit, most = problem.series("work_racks_limit"), problem.series("work_most")
        high[self.racks] = limit[:, :, None] * (np.diff(power, axis=1, append=np.inf) > 0.0)
        low[self.met], high[self.met] = problem.series("work_least"), most
        high[self.late] = problem.series("work_least")
        self.row_low[self.jobs], self.row_high[self.jobs] = -np.inf, limit
        self.row_low[self.within] = -np.inf
        self.row_high[self.within] = pool.racks - problem.service_racks
        always = pool.racks * pool.rack_idle_power + problem.service_racks * pool.power_above_idle(
            1.0
        )
        worth = sum(inputs.terminal_value.get(c, 0.0) * share for c, share in self.shares.items())
        value = worth * (power / work).min(axis=1)
        cost[self.late[1:]] = weight["lateness"] * hours[:, None]
        cost[self.met[1:]] -= weight["waiting"] * hours[:, None]
        cost[self.met[-1]] -= value
        cost[self.late[-1]] += value
        self.offset = float(value @ most[-1] + weight["waiting"] * (hours @ most[1:]).sum())
        cost[self.water] = weight["water"] * hours
        for carrier, rows in self.balance.items():
            need = self.shares.get(carrier, 0.0) * always - rest[carrier]
            self.row_low[rows] = self.row_high[rows] = need
        for at, name in self.layout.feeds:
            self.value[at] = fed[name]

    def _trade(self, inputs, fed):
        problem, hours = inputs.problem, inputs.interval_hours
        money, keep = problem.weights["money"], 1.0 - problem.margins.power
        for e in self.site.exchanges:
            bought, sold, over, up, down = self.trades[e.owner]
            kept = 1.0 if e.availability_variable else keep
            self.high[bought] = kept * problem.available_import(e)
            self.high[sold] = kept * e.export_limit
            price = hours * problem.series(e.price_variable) if e.price_variable else 0.0 * hours
            self.cost[bought] = money * price + money * (hours * e.import_fee)
            self.cost[sold] = money * (hours * e.export_fee) - money * price
            if e.carbon_variable:
                self.cost[bought] += problem.weights["carbon"] * (
                    hours * problem.series(e.carbon_variable)
                )
            if over is not None:
                allowed = MEAN_RAMP_SHARE * e.ramp_limit * 60.0 * hours
                bought_last, sold_last = (
                    float(problem.state[f"grid_{way}_power"]) for way in ("import", "export")
                )
                last = bought_last - sold_last
                self.cost[over] = money * RAMP_PENALTY_EUR_PER_MW
                self.row_low[up] = self.row_low[down] = -np.inf
                self.row_high[up] = self.row_high[down] = allowed
                self.row_high[up[0]] += last
                self.row_high[down[0]] -= last
        month = month_numbers(problem.outlook["time"].to_numpy(), self.site.time_zone)
        last = month[-1] - month[0]
        for peak, over, row in self.peaks:
            free = np.where(np.arange(2) == last, float(problem.state["usual_power"]), 0.0)
            free[0] = max(free[0], float(problem.state["peak_power"]))
            free *= 1.0 - problem.margins.peak
            fed[f"{peak.owner}/months"] = -1.0 * (month[:, None] - month[0] == np.arange(2))
            self.row_low[row], self.row_high[row] = -np.inf, free[month - month[0]]
            self.cost[over] = money * peak.price * (np.arange(2) <= last)

    def solved(self, basis=None):
        """Return the solver after a run from a basis of one interval before."""
        highs = Quiet()
        presolve = "on" if basis is None else "off"
        set_options(highs, LP_OPTIONS | {"presolve": presolve})
        none = np.zeros(self.columns, dtype=np.int32)
        bounds = (self.low, self.high, self.row_low, self.row_high)
        highs.passModel(
            self.columns, self.rows, len(self.value), 2, 1, self.offset, self.cost, *bounds,
            self.start, self.index, self.value, none,
        )  # fmt: skip
        if basis is not None:
            moved = highspy.HighsBasis()
            moved.col_status = np.array(basis.col_status, dtype=object)[self.shift[0]].tolist()
            moved.row_status = np.array(basis.row_status, dtype=object)[self.shift[1]].tolist()
            moved.valid = moved.alien = True
            highs.setBasis(moved)
            choose_simplex_strategy(highs)  # as ours does: what is compared is how one gets here
        if highs.run() == highspy.HighsStatus.kError and basis is not None:
            highs.clearSolver()  # as ours does: the basis may be at fault
            set_options(highs, COLD_START_OPTIONS | {"presolve": "on"})
            highs.run()
        assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
        return highs

    @property
    def shift(self):
        if not hasattr(self, "_shift"):
            sorts = (("column", self.columns), ("row", self.rows))
            self._shift = tuple(self.layout.sources(*one) for one in sorts)
        return self._shift
