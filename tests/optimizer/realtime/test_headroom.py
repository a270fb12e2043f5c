"""What a partner's target leaves for work."""

import numpy as np
import pytest

from optimizer.realtime.headroom import headroom
from tests import small_days
from tests.math.promises import with_target
from twin.equipment.contracts import LoadTargetContract


@pytest.mark.parametrize(("price", "is_limit"), [(np.inf, True), (500.0, False)])
def test_a_hard_target_is_a_limit_and_another_is_not(price, is_limit):
    """Proves: jobs that must run may break a target at a price, as the plan weighs it, no hard one.

    Sensitivity: late jobs at 100 EUR went before a target at 30,000.
    """
    asked, plan = small_days.problem(), small_days.decision().schedule
    step = plan.isel(time=[0], instant=[0, 1])
    step["grid_import_power"] = 0.0 * step["grid_import_power"]
    free = headroom(asked.site, asked.state, step)
    room = headroom(asked.site, asked.state, with_target(step, [1.4], price=price))
    assert room.import_power(room.calm_power) == pytest.approx(1.4, abs=0.05)
    assert free.calm_power > room.calm_power + 0.1
    assert room.work_power == pytest.approx(room.calm_power if is_limit else free.work_power)


def test_no_target_asks_for_less_than_the_least_of_its_contract():
    """Proves: 0.2 MW asked of a contract of 1.4 MW at the least leave as much as 1.4 MW."""
    asked, plan = small_days.problem(), small_days.decision().schedule
    step = plan.isel(time=[0], instant=[0, 1])
    step["grid_import_power"] = 0.0 * step["grid_import_power"]
    firm = LoadTargetContract.model_construct(name="tso", up_price=50.0, least=1.4, effect="hard")
    where = asked.site.model_copy(update={"equipment": asked.site.equipment | {"tso": firm}})
    low, exact = (
        headroom(where, asked.state, with_target(step, [target], price=np.inf)).work_power
        for target in (0.2, 1.4)
    )
    assert low == pytest.approx(exact)
    assert low > 0.1
