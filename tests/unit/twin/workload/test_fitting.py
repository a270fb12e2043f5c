"""Curves of throughput over power, fitted to jobs under power limits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.errors import SeriesError
from twin.workload.throughput import fit_throughput, relative_to_uncapped

POWERS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0)
WORKS = (0.6, 0.72, 0.84, 0.9, 0.92, 0.96, 1.0)
"""By hand: slope 1.2 from 0.5 to 0.75, then 0.4 on to 1."""


def runs(powers=POWERS, works=WORKS, *, job="one"):
    """Return runs of a job of 10 s and 200 W uncapped; the limit stands for the power asked."""
    power, work = np.array(powers), np.array(works)
    return pd.DataFrame(
        {
            "network": job,
            "power_limit": np.round(250.0 * power),
            "time_per_epoch": 10.0 / work,
            "average_power": 200.0 * power,
        }
    )


def test_concave_points_are_fitted_exactly():
    found = fit_throughput(runs())
    assert found.throughput.power_points == (0.5, 0.75, 1.0)
    assert found.throughput.work_points == pytest.approx((0.6, 0.9, 1.0), abs=1e-4)
    assert found.mean_distance < 1e-9


def test_single_outlier_does_not_change_the_curve():
    jobs = [runs(job=name) for name in "abcd"]
    odd = runs([0.5, 0.75, 1.0], [0.1, 0.2, 1.0], job="odd")
    found = fit_throughput(pd.concat([*jobs, odd]))
    assert found.throughput.work_points == pytest.approx((0.6, 0.9, 1.0), abs=1e-4)
    assert found.mean_distance == pytest.approx((0.5 + 0.7) / 31)


def test_other_rack_power_is_constant_under_a_cap():
    found = fit_throughput(runs(), board_share=0.8)
    assert found.throughput.power_points == pytest.approx((0.6, 0.8, 1.0))


@pytest.mark.parametrize(
    ("limit", "work", "energy"), [(150, 0.899, 0.806), (125, 0.853, 0.796), (100, 0.725, 0.836)]
)
def test_medians_of_the_v100_data(shared, limit, work, energy):
    found = fit_throughput(pd.read_csv(shared / "data" / "powercap" / "summary_power_v100.csv"))
    row = found.medians.loc[limit]
    assert row["work"] == pytest.approx(work, abs=5e-4)
    assert row["energy"] == pytest.approx(energy, abs=5e-4)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.2, 1.1), st.floats(0.05, 1.2)), min_size=1, max_size=12).filter(
        lambda pairs: min(power for power, _ in pairs) < 0.98
    )
)
def test_fitted_curve_is_always_concave(pairs):
    powers, works = zip(*pairs, strict=True)
    measured = runs([*powers, 1.0], [*works, 1.0])
    measured["power_limit"] = [*range(1, len(pairs) + 1), 1000]
    found = fit_throughput(measured)  # Throughput itself refuses a curve that is not concave
    assert found.throughput.work_points[-1] == 1.0
    assert np.isfinite(found.mean_distance)


def test_jobs_are_compared_with_themselves():
    slow = runs([0.5, 1.0], [0.6, 1.0], job="a").assign(time_per_epoch=[500.0, 300.0])
    fast = runs([0.5, 1.0], [0.6, 1.0], job="b")
    assert relative_to_uncapped(pd.concat([slow, fast]))["work"].tolist() == pytest.approx(
        [0.6, 1, 0.6, 1]
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda runs: runs.drop(columns="average_power"), r"average_power: .*\[missing\]"),
        (lambda runs: runs.assign(time_per_epoch=[0.0, 1, 1]), "time_per_epoch, row 1"),
        (lambda runs: runs.assign(average_power=[1, "x", 1]), "average_power, row 2 = 'x'"),
        (lambda runs: runs.assign(average_power=np.nan), "a number above 0"),
        (lambda runs: runs.iloc[:0], "rows = 0"),
        (lambda runs: runs.assign(power_limit=250), "power_limit = .*inconsistent"),
        (lambda runs: runs.assign(average_power=200.0), "power_limit = .*inconsistent"),
    ],
)
def test_invalid_measurements_are_refused(spoil, words):
    with pytest.raises(SeriesError, match=words):
        fit_throughput(spoil(runs([0.5, 0.75, 1.0], [0.6, 0.9, 1.0])))
