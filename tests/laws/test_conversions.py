"""Conversions: curves at positive, negative and zero prices; profitable waste."""

import numpy as np
import pytest

from optimizer.solver.relaxation_repair import MAX_WASTE_MW
from tests.support.hand import grid, kind, machine, outlook, site, solved, source

NEAR = 0.05
"""Lines may lie above the curve by a little. [MW]"""


def lossy(q):
    """10 MW need 11 MW, 5 MW need 5.25 MW."""
    return q + 0.01 * q**2


def with_losses(*others, **settings):
    feeder = machine("feeder", "rack", draws={"medium_voltage": lossy})
    return site(*others, feeder=feeder, **settings)


def drawn(plan, owner="feeder", output=10.0):
    """Return the draw of a machine above its curve at an output."""
    curve, filled = plan.data.curves[owner], plan.values[f"{owner}.segment"]
    carrier = next(iter(curve.segment_slopes))
    given = curve.min_output + filled.sum(axis=1)
    assert given == pytest.approx(np.broadcast_to(output, given.shape), abs=1e-6)
    return curve.draw_at_min_output[carrier] + (curve.segment_slopes[carrier] * filled).sum(axis=1)


def test_losses_are_bought():
    """Proves: 10 MW of racks draw 11 MW at 50. Sensitivity: 500 without losses."""
    plan = solved(with_losses(), outlook([50.0], service=10.0))
    assert 550.0 <= plan.objective <= 50.0 * (11.0 + NEAR)


@pytest.mark.parametrize("load", [2.5, 5.0, 10.0])
def test_machine_wastes_nothing_at_negative_prices(load):
    """Proves: at -100 the losses are those of physics. Sensitivity: 0.25 MW more at a load of 5,
    along the secant over the whole curve.
    """
    plan = solved(with_losses(), outlook([-100.0], service=load))
    assert drawn(plan, output=load) == pytest.approx(lossy(load), abs=NEAR)


def test_work_is_bought_at_negative_prices():
    """Proves: all racks work when power is paid for, with the losses of 10 MW.

    Sensitivity: 0 if waste were forbidden by forbidding draw.
    """
    jobs = [("batch", [0.0], [10.0], 10.0)]
    plan = solved(with_losses(), outlook([-100.0], jobs=jobs))
    assert plan.objective == pytest.approx(-1100.0, abs=100 * NEAR)


def test_profitable_waste_at_positive_prices():
    """Proves: a source that pays 30 for each MWh taken does not make machines burn.

    Load of 5 MW draws 5.25 MW from the source. Sensitivity: 5.5 MW along the secant.
    """
    where = with_losses(source(price=-30.0))
    plan = solved(where, outlook([60.0], service=5.0, sun=[50.0]))
    assert drawn(plan, output=5.0) == pytest.approx(lossy(5.0), abs=NEAR)
    assert plan.objective == pytest.approx(-30.0 * 5.25, abs=30 * NEAR)


def test_free_power_is_not_wasted():
    """Proves: with free sun to spare the plan still shows the losses of physics."""
    where = with_losses(source())
    plan = solved(where, outlook([60.0], service=5.0, sun=[50.0]))
    assert drawn(plan, output=5.0) == pytest.approx(lossy(5.0), abs=NEAR + MAX_WASTE_MW)


def test_idle_site_costs_nothing():
    """Proves: a site that does nothing costs nothing. Sensitivity: losses of a pad."""
    plan = solved(with_losses(), outlook([50.0, 50.0]))
    assert plan.objective == pytest.approx(0.0, abs=50 * NEAR)


def test_concave_curve_is_never_undercut():
    """Proves: of a draw with falling slope the plan pays no less than physics, 2.5 + 2.5^0.5."""
    feeder = machine("feeder", "rack", draws={"medium_voltage": lambda q: q + np.sqrt(q)})
    plan = solved(site(feeder=feeder), outlook([100.0], service=2.5))
    assert plan.objective >= 100.0 * (2.5 + 2.5**0.5)
    assert float(plan.data.curves["feeder"].max_excess_over_curve["medium_voltage"].max()) > 0.1


def test_limit_keeps_its_margin():
    """Proves: a line of 10 MW is planned to 9 MW with a margin of a tenth.

    Work of 10 MWh at 10 and 20: 9 at 10, 1 at 20: 110. Sensitivity: 100 without the margin.
    """
    line = machine("line", "medium_voltage", draws={"grid": lambda q: q}, limit=10.0)
    margins = site().margins.model_copy(update={"power": 0.1})
    jobs = [("batch", [0.0, 10.0], [10.0, 10.0], 10.0)]
    plan = solved(site(line=line, margins=margins), outlook([10.0, 20.0], jobs=jobs))
    assert plan.objective == pytest.approx(110.0)


def test_line_carries_exports_backwards():
    """Proves: 5 MW of sun less 1 MW of load are sold at 40, at a fee of 0: -160.

    Sensitivity: 0 if the line carried one way only.
    """
    where = site(source(), connection=grid(export_limit=20.0))
    plan = solved(where, outlook([40.0], service=1.0, sun=[5.0]))
    assert plan.objective == pytest.approx(-160.0)
    assert plan.values["grid.export_power"] == pytest.approx([4.0])


def test_two_machines_share_a_carrier_by_cost():
    """Proves: the cheaper of two coolers is filled first: 6 MW at 0.1, 4 MW at 0.5.

    10 MW of racks and 2.6 MW of cooling at 100. Sensitivity: 1300 in equal shares.
    """
    good = machine("cooler", "air", draws={"medium_voltage": lambda q: 0.1 * q}, limit=6.0)
    poor = machine("poor", "air", draws={"medium_voltage": lambda q: 0.5 * q})
    plan = solved(site(poor, cooler=good), outlook([100.0], service=10.0))
    assert plan.objective == pytest.approx(1260.0)


def test_water_is_bought_by_weight():
    """Proves: 0.5 m3 of water for each MWh of cooling, at 2 EUR/m3, join the bill."""
    draws = {"medium_voltage": lambda q: 0.0 * q, "water": lambda q: 0.5 * q}
    where = site(cooler=machine("cooler", "air", draws=draws), work=[kind()])
    plan = solved(where, outlook([10.0], service=10.0), water=2.0)
    assert plan.accounts["water"].sum() == pytest.approx(10.0)
    assert plan.objective == pytest.approx(110.0)
