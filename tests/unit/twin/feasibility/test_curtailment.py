"""Non-firm connections: hourly limits, and how soon they can be kept."""

import numpy as np
import pytest

from tests.support.hand import START, grid, outlook, site
from twin import variables
from twin.feasibility import connection
from twin.simulation import state


def ahead(limit, *, hours=0.25):
    given = outlook([10.0] * len(limit), hours=hours)
    return variables.tag_dataset(given.assign(grid_import_limit=("time", np.array(limit, float))))


def at(where, before):
    return state.initial_state(where, START, grid_import_power=before)


def test_without_a_limit_the_whole_connection_is_available():
    where = site(connection=grid(import_limit=80.0))
    assert connection.plannable_import_limit(
        where, at(where, 50.0), outlook([1.0, 1.0])
    ).tolist() == [
        80,
        80,
    ]


def test_limit_applies_below_the_connection_limit():
    where = site(connection=grid(import_limit=80.0))
    found = connection.plannable_import_limit(where, at(where, 20.0), ahead([np.inf, 60.0, 90.0]))
    assert found.tolist() == [80.0, 60.0, 80.0]


def test_unannounced_limit_is_reached_at_half_the_ramp():
    # from 70 MW at 0.5 x 2 MW/min: 15 MW a quarter-hour: 55, 40, then the limit of 30
    where = site(connection=grid(import_limit=80.0, ramp=2.0))
    found = connection.plannable_import_limit(where, at(where, 70.0), ahead([30.0, 30.0, 30.0]))
    assert found.tolist() == [55.0, 40.0, 30.0]


@pytest.mark.parametrize(
    ("taken", "is_kept"),
    [
        ([58.0, 46.0, 34.0, 30.0], True),  # 0.4 x 2 MW/min x 15 min = 12 MW a quarter-hour
        ([58.0, 46.0, 34.0, 30.1], False),
        ([58.2, 46.0, 34.0, 30.0], False),
    ],
)
def test_run_is_judged_by_the_limit_of_its_schedule(taken, is_kept):
    where = site(connection=grid(import_limit=80.0, ramp=2.0))
    operation = ahead([30.0] * 4)
    ran = operation.assign(grid_import_power=("time", np.array(taken)))
    over = connection.import_limit_excess(
        where, at(where, 70.0), operation, replay=ran, safety_margin=0.0
    )
    assert bool((over <= 1.0).all()) == is_kept
    calm = connection.import_limit_excess(
        where, at(where, 70.0), outlook([1.0] * 4), replay=ran, safety_margin=0.0
    )
    assert calm.tolist() == [0.0] * 4


def test_safety_margin_of_the_limit_is_kept():
    where = site(connection=grid(import_limit=80.0))
    operation = ahead([50.0])
    ran = operation.assign(grid_import_power=("time", np.array([49.5])))
    assert (
        connection.import_limit_excess(
            where, at(where, 0.0), operation, replay=ran, safety_margin=0.02
        )[0]
        > 1.0
    )
    assert (
        connection.import_limit_excess(
            where, at(where, 0.0), operation, replay=ran, safety_margin=0.01
        )[0]
        <= 1.0
    )
