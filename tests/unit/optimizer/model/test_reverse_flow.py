"""Power that is sold flows backwards through all that stands between its source and the fence."""

import numpy as np
import pytest

from optimizer.diagnostics.sensitivity import limit_values
from optimizer.planner.schedule import build_schedule
from tests.support import hand
from twin.equipment import Photovoltaic


def losing(share=0.0, *, idle=0.0):
    """Return what a machine draws that loses a share of what passes, either way, and when idle."""
    return lambda q: q + share * np.abs(q) + idle


def sold(*others, line=None, export_limit=5.0, price=100.0):
    """Return the plan of a site with sun of 6 MW and nothing to do."""
    way = {} if line is None else {"line": line}
    connection = hand.grid(export_limit=export_limit)
    sun = Photovoltaic.model_construct(name="sun", power=6.0, price=0.0)
    where = hand.site(sun, *others, connection=connection, **way)
    return hand.solved(where, hand.outlook([price] * 2, sun=[6.0, 6.0]))


def exported(plan):
    return plan.values["grid.export_power"].tolist()


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_switchgear_lets_power_out(share):
    """Proves: 5 MW are sold for two hours through a line and switchgear behind it.

    Sensitivity: none, where the floor of the switchgear knows of no export on its own carrier.
    """
    line = hand.machine("line", "busbar", draws={"grid": losing(share)})
    gear = hand.machine("gear", "medium_voltage", draws={"busbar": losing(share)})
    plan = sold(gear, line=line)
    assert exported(plan) == pytest.approx([5.0, 5.0])
    assert plan.objective == pytest.approx(-1000.0)


@pytest.mark.parametrize("export_limit", [0.05, 5.0])
def test_losses_do_not_reduce_the_export_limit(export_limit):
    """Proves: the sun bears a loss of 0.04 MW and 2 % beside what is sold.

    Sensitivity: less, where the machine's floor is what may be sold.
    """
    line = hand.machine("line", "medium_voltage", draws={"grid": losing(0.02, idle=0.04)})
    plan = sold(line=line, export_limit=export_limit)
    assert exported(plan) == pytest.approx([export_limit] * 2)


def test_own_sun_covers_no_load_loss_without_export():
    """Proves: nothing is bought. Sensitivity: 0.04 MW, where the floor is nothing."""
    line = hand.machine("line", "medium_voltage", draws={"grid": losing(idle=0.04)})
    plan = sold(line=line, export_limit=0.0)
    assert plan.objective == pytest.approx(0.0, abs=1e-9)


def test_value_of_export_limit_is_its_price():
    """Proves: a MW more earns 2 x 100 EUR. Sensitivity: nothing, where the line binds with it."""
    solution = sold()
    worth = {
        one.limit: one.marginal_value for one in limit_values(solution, build_schedule(solution))
    }
    assert worth == {"power or heat sold (grid)": pytest.approx(200.0)}
