"""The sites' linear models in linopy: its own words, every form whole arrays at a time, and HiGHS.

The question names files that hold a site's arrays, as our own forms get them; a case is all sites
of one cycle, each rebuilt and solved. The solver has the options of ours and gets the model
directly, without names: linopy's fastest way.
"""

import json
from collections import defaultdict

import linopy
import numpy as np
import pandas as pd
import xarray as xr
from timed import asked, report

RAMP_PRICE = 1e5
AXES = {
    "peak": {"in_period": ["time", "period"], "free_import": ["time"], "price": ["period"]},
    "convert": {
        "low": ["time"], "width": ["time", "piece"], "slope_above_secant": ["time", "piece"],
    },
    "work": {
        "work": ["cohort", "cap"], "power": ["cohort", "cap"], "value": ["cohort"],
        "hours": ["time"], "free_racks": ["time"], "racks_limit": ["time", "cohort"],
        "racks_high": ["time", "cohort", "cap"], "min_work": ["instant", "cohort"],
        "max_work": ["instant", "cohort"],
    },
}  # fmt: skip
"""Form -> axes of its arrays, where they are more than their length shows."""


class Site:
    """A site's model under construction."""

    def __init__(self, about, numbers):
        self.numbers, self.price, self.steps = numbers, about["prices"], about["steps"]
        self.model = linopy.Model()
        self.time = pd.RangeIndex(self.steps, name="time")
        self.instant = pd.RangeIndex(self.steps + 1, name="instant")
        self.flows, self.fixed = defaultdict(list), defaultdict(float)
        self.costs, self.constant = [], 0.0
        for name, form, shape in about["parts"]:
            getattr(self, form)(name, shape)
        for carrier, terms in self.flows.items():
            self.model.add_constraints(linopy.merge(terms) == -self.fixed[carrier], name=carrier)
        self.model.add_objective(linopy.merge(self.costs))

    def given(self, name, *axes):
        """Return an array with labelled axes, or a number."""
        values = self.numbers[name]
        if not values.ndim:
            return float(values)
        axes = axes or ({self.steps: "time", self.steps + 1: "instant"}[len(values)],)
        labels = {a: pd.RangeIndex(n, name=a) for a, n in zip(axes, values.shape, strict=True)}
        return xr.DataArray(values, dims=axes, coords=labels)

    def all_of(self, form, name):
        """Return the arrays of a form under their words."""
        return {word: self.given(f"{name}.{word}", *axes) for word, axes in AXES[form].items()}

    def columns(self, name, high=np.inf, low=0.0):
        """Return new variables on the axes of their greatest values, or over time."""
        coords = None if isinstance(high, xr.DataArray) else [self.time]
        return self.model.add_variables(lower=low, upper=high, coords=coords, name=name)

    def rows(self, name, rows):
        """Add rows."""
        self.model.add_constraints(rows, name=name)

    def edges(self, levels):
        """Return levels at the ends and at the beginnings of the intervals."""
        for first in (1, 0):
            part = levels.isel(instant=slice(first, first + self.steps))
            yield part.assign_coords(instant=self.time.to_numpy()).rename(instant="time")

    def convert(self, name, shape):
        """Segments, what they give and draw, and the secant cut over them."""
        own = self.all_of("convert", name)
        segment = self.columns(f"{name}.segment", own["width"])
        self.flows[shape["output_carrier"]].append(segment.sum("piece"))
        self.fixed[shape["output_carrier"]] += own["low"]
        for carrier in shape["drawn_carriers"]:
            slope = self.given(f"{name}.{carrier}_slope", "time", "piece")
            self.flows[carrier].append((-slope * segment).sum("piece"))
            self.fixed[carrier] -= self.given(f"{name}.{carrier}_offset")
        if shape["segment_count"] > 1:
            self.rows(
                f"{name}.secant_cut", (own["slope_above_secant"] * segment).sum("piece") <= 0.0
            )

    def store(self, name, shape):
        """Levels at the edges, charge and discharge between them."""
        into = self.columns(f"{name}.charge", self.given(f"{name}.charge_limit"))
        out = self.columns(f"{name}.discharge", self.given(f"{name}.discharge_limit"))
        low, high = self.given(f"{name}.low"), self.given(f"{name}.high")
        level = self.columns(f"{name}.level", high, low)
        end, begin = self.edges(level)
        kept, gained, taken = (
            self.given(f"{name}.{w}") for w in ("retention", "charge_gain", "discharge_loss")
        )
        self.rows(f"{name}.soc_balance", end - kept * begin - gained * into + taken * out == 0.0)
        share, other = (self.given(f"{name}.{way}_fraction") for way in ("charge", "discharge"))
        self.rows(f"{name}.charge_discharge_limit", share * into + other * out <= 1.0)
        self.flows[shape["carrier"]] += [1.0 * out, -1.0 * into]
        self.costs.append((self.price["wear"] * self.given(f"{name}.wear") * out).sum())
        worth = self.price["terminal"] * self.given(f"{name}.terminal_value")
        self.costs.append(-worth * level.isel(instant=self.steps, drop=True))

    def exchange(self, name, shape):
        """Import and export with what they cost, and the ramp of their difference."""
        bought = self.columns(f"{name}.import_power", self.given(f"{name}.import_limit"))
        sold = self.columns(f"{name}.export_power", self.given(f"{name}.export_limit"))
        self.flows[shape["carrier"]] += [1.0 * bought, -1.0 * sold]
        fee = self.price[shape["account"]]
        buy, sell = (fee * self.given(f"{name}.{way}_fee") for way in ("import", "export"))
        if shape["has_price"]:
            price = self.price["electricity"] * self.given(f"{name}.price")
            buy, sell = buy + price, sell - price
        if shape["has_carbon"]:
            buy = buy + self.price["carbon"] * self.given(f"{name}.carbon")
        self.costs += [(buy * bought).sum(), (sell * sold).sum()]
        if shape["ramp_intervals"]:
            self.ramp(name, shape, bought - sold)

    def ramp(self, name, shape, net):
        """Hold the change of net import, at a price."""
        assert list(shape["ramp_intervals"]) == list(range(self.steps))
        excess, most = self.columns(f"{name}.ramp_excess"), self.given(f"{name}.ramp_limit")
        last = self.given(f"{name}.last")
        now, later = {"time": slice(0, 1)}, {"time": slice(1, None)}
        before = net.isel(time=slice(None, -1)).assign_coords(time=self.time[1:].to_numpy())
        change = net.isel(later) - before
        for way, sign in (("up", 1.0), ("down", -1.0)):
            over = sign * change - excess.isel(later)
            self.rows(f"{name}.ramp_{way}", over <= most.isel(later))
            over = sign * net.isel(now) - excess.isel(now)
            self.rows(f"{name}.first_{way}", over <= most.isel(now) + sign * last)
        self.costs.append(self.price["ramp"] * RAMP_PRICE * excess.sum())

    def peak(self, name, shape):
        """Price what the greatest import of each period exceeds its running peak by."""
        own = self.all_of("peak", name)
        over = self.columns(f"{name}.peak_excess", xr.full_like(own["price"], np.inf))
        bought = self.model.variables[f"{shape['owner']}.import_power"]
        beyond = bought - (own["in_period"] * over).sum("period")
        self.rows(f"{name}.below_peak", beyond <= own["free_import"])
        self.costs.append((self.price[shape["account"]] * own["price"] * over).sum())

    def work(self, name, shape):
        """Racks by cohort and cap, work met and work late."""
        own = self.all_of("work", name)
        racks = self.columns("racks", own["racks_high"])
        used = self.columns("used_power")
        met = self.columns("met", own["max_work"], own["min_work"])
        late = self.columns("late", own["min_work"])
        done = (own["hours"] * own["work"] * racks).sum("cap")
        (end, begin), (end_late, begin_late) = self.edges(met), self.edges(late)
        self.rows("progress", end - end_late - begin + begin_late - done == 0.0)
        self.rows("uses", used - (own["power"] * racks).sum(["cohort", "cap"]) == 0.0)
        self.rows("within_jobs", racks.sum("cap") <= own["racks_limit"])
        self.rows("within_site", racks.sum(["cohort", "cap"]) <= own["free_racks"])
        for carrier in shape["carriers"]:
            self.flows[carrier].append(-self.given(f"{name}.{carrier}_share") * used)
            self.fixed[carrier] -= self.given(f"{name}.{carrier}_always")
        value = self.price["terminal"] * own["value"]
        last = {"instant": self.steps}
        self.constant += float((value * own["max_work"].isel(last)).sum())
        self.costs.append((self.price["lateness"] * own["hours"] * end_late).sum())
        waiting = self.price["waiting"] * own["hours"]
        possible, _ = self.edges(own["max_work"])
        self.constant += float((waiting * possible).sum())
        self.costs.append((-waiting * end).sum())
        self.costs.append((-value * met.isel(last, drop=True)).sum())
        self.costs.append((value * late.isel(last, drop=True)).sum())

    def water(self, name, _):
        """Water from outside."""
        water = self.columns("water_use")
        self.flows["water"].append(1.0 * water)
        self.costs.append((self.price["water"] * self.given(f"{name}.hours") * water).sum())


def solve(sites):
    """Return the sum of the sites' optima, and what writes their models."""
    total, models = 0.0, []
    for about, numbers in sites:
        site = Site(about, numbers)
        status, _ = site.model.solve(
            "highs",
            io_api="direct",
            progress=False,
            solver="simplex",
            threads=1,
            parallel="off",
            output_flag=False,
        )
        assert status == "ok"
        total += site.model.objective.value + site.constant
        models.append(site.model)
    return total, lambda stem: [m.to_file(f"{stem}-{i}.mps") for i, m in enumerate(models)]


def read(file):
    """Return what a file holds of a site, and its arrays."""
    with np.load(file) as held:
        return json.loads(str(held["about"])), {k: held[k] for k in held.files if k != "about"}


linopy.options["semantics"] = "v1"
question = asked()
question["cases"] = [[read(file) for file in files] for files in question["cases"]]
report(solve, question, "linopy", "highspy")
