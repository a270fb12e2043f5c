"""A tariff within a horizon: time classes, windows, contracts and band load."""

import numpy as np
import pytest

from optimizer.model.formulation import signature_of
from optimizer.model.model_data import build_model_data
from tests.support.hand import START, grid, outlook, problem, site, solved
from twin import time_axes
from twin.markets.bills import compute_bill
from twin.markets.planned_billing import rebate_peak_limit
from twin.markets.tariffs import Tariff

ABOUT = {"status": "assumed", "source": "assumed"}
MOVABLE = [("batch", [0.0, 4.0], [4.0, 4.0], 10.0)]
"""4 MWh that may be done in either of two hours, from midnight UTC on 1 July 2026."""

FIRST = {"name": "first", "hours": ["0-1"]}
REST = {"name": "rest"}


def under(**rules):
    """Return a site on UTC with a tariff."""
    base = {"name": "sample", "valid_from": "2026-01-01", **ABOUT}
    sample = Tariff.model_validate(base | rules)
    return site(connection=grid()).model_copy(update={"tariffs": {"sample": sample}})


def moved(ahead, start):
    times = {name: ahead[name] - START + start for name in ("time", "instant")}
    return ahead.assign_coords(times)


def test_time_classes_are_part_of_the_price():
    """Proves: 10 + 5 in the first hour, 12 in the second: 4 MWh cost 48, of it no fee.

    Sensitivity: 60 in the first hour if the class were not seen. A levy of 1 on all adds 4.
    """
    rules = {
        "periods": [FIRST, REST],
        "energy": [{"name": "dear", "price": "5 EUR/MWh", "periods": ["first"]}],
    }
    plan = solved(under(**rules), outlook([10.0, 12.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(48.0)
    assert plan.accounts["network"] == pytest.approx([0.0, 0.0])
    rules["energy"] = [*rules["energy"], {"name": "levy", "price": "1 EUR/MWh", "is_levy": True}]
    plan = solved(under(**rules), outlook([10.0, 12.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(52.0)


@pytest.mark.parametrize(("hours", "cost"), [("0-1", 80.0), ("1-2", 40.0), ("0-2", 180.0)])
def test_peak_counts_only_in_its_windows(hours, cost):
    """Proves: at 60 EUR/MW, 10 in the first hour and 20 in the second.

    Window in the first hour: all goes to the second, 80. In the second: all in the first, 40. In
    both: 2 and 2 cost 60 + 120 = 180, 4 in the first 40 + 240.
    """
    windows = [{"hours": [hours]}]
    rules = {"peaks": [{"name": "power", "price": "60 EUR/MW", "windows": windows}]}
    plan = solved(under(**rules), outlook([10.0, 20.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(cost)


@pytest.mark.parametrize(
    ("start", "cost"), [("2026-07-31T23:00", 60.0), ("2026-12-31T23:00", 180.0)]
)
def test_yearly_peak_lasts_until_the_end_of_the_year(start, cost):
    """Proves: under the year's 2 MW, 2 x 20 + 2 x 10; in a new year its 2 MW are paid, 120 more."""
    rules = {"peaks": [{"name": "power", "price": "60 EUR/MW", "of": "year"}]}
    ahead = moved(outlook([20.0, 10.0], jobs=MOVABLE), time_axes.to_utc(start))
    assert solved(under(**rules), ahead, peak=2.0).objective == pytest.approx(cost)


def test_expected_peak_is_free():
    """Proves: with 4 MW declared to come anyway nothing is saved: 40. Sensitivity: 180."""
    rules = {"peaks": [{"name": "power", "price": "60 EUR/MW"}]}
    ahead = outlook([20.0, 10.0], jobs=MOVABLE)
    assert solved(under(**rules, expected_peak="4 MW"), ahead).objective == pytest.approx(40.0)
    assert solved(under(**rules), ahead).objective == pytest.approx(180.0)


TAXES = [{"name": "levy", "share": "10 %"}, {"name": "vat", "share": "20 %"}]
"""A EUR on a line comes to 1.1 x 1.2 = 1.32."""


def test_taxes_are_part_of_the_price_of_energy():
    """Proves: 20 + 10 x 1.2 in the first hour is dearer than 31 in the second: 4 x 31 = 124.

    Sensitivity: in the first hour, at 120 without the tax, 128 would be on the bill.
    """
    rules = {
        "periods": [FIRST, REST],
        "energy": [{"name": "dear", "price": "10 EUR/MWh", "periods": ["first"]}],
        "taxes": [{"name": "vat", "share": "20 %"}],
    }
    plan = solved(under(**rules), outlook([20.0, 31.0], jobs=MOVABLE))
    assert plan.values["grid.import_power"] == pytest.approx([0.0, 4.0])
    assert plan.objective == pytest.approx(124.0)


def test_taxes_apply_to_every_line_and_each_other():
    """Proves: 2 and 2 MW at 60 EUR/MW x 1.32 are 60 + 158.4; energy at 5 EUR/MWh x 1.32 is 26.4.

    The bill of these eight quarter-hours has the same 184.8 on it.
    """
    rules = {
        "energy": [{"name": "energy", "price": "5 EUR/MWh"}],
        "peaks": [{"name": "power", "price": "60 EUR/MW"}],
        "taxes": TAXES,
    }
    where = under(**rules)
    plan = solved(where, outlook([10.0, 20.0], jobs=MOVABLE))
    assert plan.values["grid.import_power"] == pytest.approx([2.0, 2.0])
    assert plan.objective == pytest.approx(60.0 + 158.4 + 26.4)
    taken, starts = np.full(8, 2.0), START + np.arange(8) * time_axes.QUARTER_HOUR
    assert (
        float(compute_bill(where.tariffs["sample"], starts, taken, time_zone="UTC").total) == 184.8
    )


@pytest.mark.parametrize(("price", "cost"), [(7.0, 40.0 + 9.24), (8.0, 50.0)])
def test_taxes_apply_to_the_excess(price, cost):
    """Proves: the 4th MW saves 10 and costs 7 x 1.32 = 9.24 or 8 x 1.32 = 10.56."""
    contract = {"period": "rest", "power": "3 MW", "price": "9 EUR/MW"}
    contract["excess_price"] = f"{price} EUR/MW"
    rules = {"excess": "greatest", "periods": [REST], "contracted": [contract], "taxes": TAXES}
    plan = solved(under(**rules), outlook([20.0, 10.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(cost)


def test_taxes_apply_to_the_band_load_discount():
    """Proves: the loss of the class is laid over 3 % of 3 MW: 1.32 x 0.8 x 21,000 EUR / 0.09 MW."""
    plain = under(**guarded(expected_energy="21 GWh")).tariffs["sample"]
    with_taxes = under(**guarded(expected_energy="21 GWh"), taxes=TAXES).tariffs["sample"]
    assert rebate_peak_limit(plain)[1] == pytest.approx(0.8 * 21_000.0 / 0.09)
    assert rebate_peak_limit(with_taxes)[1] == pytest.approx(1.32 * 0.8 * 21_000.0 / 0.09)


BAND = {
    "utilisation": {
        "plan_for": "band_load", "expected": "7000 h",
        "power_price": "0 EUR/MW", "energy_price": "1 EUR/MWh",
        "power_price_below": "0 EUR/MW", "energy_price_below": "9 EUR/MWh",
    },
    "band_load": {
        "valid_from": "2014-01-01", **ABOUT, "least_energy": "10 GWh",
        "classes": [{"hours": "7000 h", "share": 0.2}, {"hours": "8000 h", "share": 0.1}],
    },
}  # fmt: skip


def guarded(**band):
    return BAND | {"band_load": BAND["band_load"] | band}


def test_band_load_limits_the_peak():
    """Proves: 21 GWh in 7,000 h allow 3 MW: 1 x 20 + 3 x 10, and a fifth of 1 EUR on 4 MWh: 50.8.

    The 4th MW would save 10 and cost 0.8 x 21,000 EUR over 3 % of 3 MW, 186,667 EUR/MW.
    Sensitivity: 40.8 where no energy is expected, so that nothing is guarded.
    """
    ahead = outlook([20.0, 10.0], jobs=MOVABLE)
    plan = solved(under(**guarded(expected_energy="21 GWh")), ahead)
    assert plan.objective == pytest.approx(50.8)
    assert plan.values["grid.import_power"] == pytest.approx([1.0, 3.0])
    assert solved(under(**guarded()), ahead).objective == pytest.approx(40.8)


def test_lost_band_load_limits_nothing():
    """Proves: after a quarter-hour of 4 MW this year there is nothing left to guard: 40.8."""
    where = under(**guarded(expected_energy="21 GWh"))
    plan = solved(where, outlook([20.0, 10.0], jobs=MOVABLE), peak=4.0)
    assert plan.objective == pytest.approx(40.8)


ATYPICAL = {
    "utilisation": BAND["utilisation"] | {
        "plan_for": "atypical", "power_price": "60 EUR/MW", "energy_price": "0 EUR/MWh",
    },
    "atypical": {
        "valid_from": "2014-01-01", **ABOUT, "windows": [{"hours": ["17-20"]}],
        "least_share": 0.0, "least_shift": 0.1,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "table", "held", "published"),
    [(BAND, "band_load", 40.8, 44.0), (ATYPICAL, "atypical", 40.0, 180.0)],
)
@pytest.mark.parametrize(
    ("valid_to", "is_held"), [("2026-01-01", False), ("2026-06-01", True), ("2027-01-01", True)]
)
def test_ended_discount_is_not_counted(rules, table, held, published, valid_to, is_held):
    """Proves: 4 MWh at 10, or 2 and 2 at 20 and 10 with 2 MW at 60; a bill's first day decides.

    Sensitivity: as in 2025, if plans ignored the dates of the table.
    """
    where = under(**rules | {table: rules[table] | {"valid_to": valid_to}})
    plan = solved(where, outlook([20.0, 10.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(held if is_held else published)
    starts = time_axes.to_utc("2026-01-01") + np.arange(8760 * 4) * time_axes.QUARTER_HOUR
    billed = compute_bill(
        where.tariffs["sample"], starts, np.full(len(starts), 3.0), time_zone="UTC"
    )
    assert (table in [branch.name for branch in billed.charge_options]) == is_held


def test_model_contains_only_declared_tariff_rules():
    """Proves: without a tariff there is one charge, as ever; with one, those of its rules."""

    def charges(where):
        inputs = build_model_data(problem(where, outlook([20.0, 10.0], jobs=MOVABLE)))
        ((own,),) = ([s.components for s in signature_of(inputs).sites],)
        return [name for name, part in own if name.startswith("grid_")]

    assert charges(site()) == ["grid_peak"]
    assert charges(under()) == ["grid_peak"]
    assert charges(under(**guarded(expected_energy="21 GWh"))) == ["grid_peak", "grid_band"]
    contract = {"period": "rest", "power": "3 MW", "price": "9 EUR/MW"}
    rules = {"periods": [REST], "contracted": [contract]}
    assert charges(under(**rules)) == ["grid_peak", "grid_excess"]


def test_contracts_keep_the_model_shape_across_months():
    """Proves: six classes, with and without a month's end, have equally many peaks."""
    names = [f"P{n}" for n in range(1, 7)]
    periods = [{"name": n, "hours": [f"{4 * i}-{4 * i + 4}"]} for i, n in enumerate(names[:5])]
    contracts = [{"period": n, "power": "3 MW", "price": "9 EUR/MW"} for n in names]
    where = under(periods=[*periods, {"name": "P6"}], contracted=contracts)
    shapes = [
        signature_of(
            build_model_data(problem(where, moved(outlook(np.ones(8)), time_axes.to_utc(start))))
        )
        for start in ("2026-07-15T20:00", "2026-07-31T20:00")
    ]
    assert shapes[0] == shapes[1]
