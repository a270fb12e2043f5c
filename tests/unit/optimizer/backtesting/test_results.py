"""Results: capture, averages, and files that are complete or absent."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import xarray as xr

from optimizer.backtesting.results import PolicySummary, mean_accounts, paired_difference
from optimizer.backtesting.settlement import Settlement, WorkBalance
from optimizer.reporting.run_files import write_netcdf
from telemetry.durable_files import write_json_atomic
from tests.support.summaries import results, summary
from twin import time_axes
from twin.errors import JournalError, ProblemError
from twin.simulation.minimum_times import StagingCounts


@pytest.mark.parametrize(
    ("threshold", "optimal", "perfect", "capture"),
    [
        (100.0, 70.0, 60.0, 0.75),
        (100.0, 60.0, 60.0, 1.0),
        (100.0, 110.0, 60.0, -0.25),
        (-10.0, -40.0, -50.0, 0.75),
        (100.0, 100.0, 100.0, None),  # nothing to capture
        (100.0, 110.0, 105.0, None),  # a rule that violates a limit may be cheaper than any plan
    ],
)
def test_capture_is_the_share_of_foresight_savings(threshold, optimal, perfect, capture):
    names = {"deterministic": optimal, "perfect": perfect}
    expected = None if capture is None else pytest.approx(capture)
    found = results(threshold_capped=threshold, **names)
    assert (found.capture, found.captures) == (
        expected,
        {"threshold_capped": expected, "threshold": None},
    )
    other = results(threshold=threshold, **names)
    assert (other.capture, other.captures["threshold"]) == (None, expected)
    assert replace(found, days=4).captures == {"threshold_capped": None, "threshold": None}


def test_capture_is_of_the_default_planner_if_it_ran():
    """Proves: results of earlier versions, without it, keep the capture of the other planner."""
    both = {"deterministic": 70.0, "perfect": 60.0}
    earlier = results(threshold_capped=100.0, **both)
    assert (earlier.planner, earlier.capture) == ("deterministic", pytest.approx(0.75))
    assert earlier.objectives("optimal") == [70.0]
    now = results(threshold_capped=100.0, hedged=62.0, **both)
    assert (now.planner, now.capture) == ("hedged", pytest.approx(0.95))
    assert now.objectives("optimal") == [62.0]
    assert now.as_json()["planner"] == "hedged"
    assert results(immediate=1.0).as_json()["planner"] is None


def test_added_policies_update_the_capture():
    """Proves: earlier results stay. Sensitivity: they were lost with the capture."""
    first = replace(results(threshold_capped=100.0, perfect=60.0), notes=("a",), cpu_s=2.0)
    both = replace(results(deterministic=70.0, perfect=50.0), notes=("b",), cpu_s=3.0).merged_with(
        first
    )
    assert (
        list(both.policies)
        == list(both.by_seed)
        == ["threshold_capped", "deterministic", "perfect"]
    )
    assert (both.notes, both.gaps, both.cpu_s) == (("a", "b"), first.gaps, 5.0)
    assert both.capture == pytest.approx(30.0 / 50.0)
    for rows in (both.accounts, both.weighed, both.broken):
        assert set(rows) == set(both.policies)
    assert both.weighed["perfect"] == {"carbon": 50.0}


def test_policy_later_than_the_rule_is_noted():
    """Proves: a saving bought with lateness is noted. Sensitivity: only a column showed it."""
    found = results(threshold_capped=100.0, deterministic=70.0, perfect=60.0, immediate=200.0)
    assert found.lateness_warnings == []
    late = {"deterministic": summary(lateness_h=16.04), "immediate": summary(lateness_h=900.0)}
    found = replace(found, policies=found.policies | late)
    assert found.lateness_warnings == found.as_json()["later"]
    assert found.lateness_warnings == ["deterministic is late by 16.0 h, threshold_capped by 1.0 h"]


def test_repeated_policy_replaces_its_result():
    again = results(deterministic=70.0)
    assert again.merged_with(results(deterministic=80.0)) is again


def test_capture_requires_its_three_policies():
    assert results(threshold_capped=100.0, deterministic=70.0).capture is None


def test_violations_are_summed_over_seeds_and_the_rest_averaged():
    over = PolicySummary.averaged([summary(10.0, 2, peak_mw=3.0), summary(20.0, 1, peak_mw=5.0)])
    assert (over.objective, over.violations, over.peak_mw) == (15.0, 3, 4.0)
    assert isinstance(over.violations, int)


def test_minimum_time_breaches_are_separate_from_violations():
    """Proves: each is averaged over seeds separately and is not a violation."""
    numbers = dict.fromkeys(("carbon_kg", "energy_mwh", "it_energy_mwh", "water_m3"), 0.0)
    ran = StagingCounts(
        starts=5, stops=4, min_up_violations=3, min_down_violations=2, restart_violations=1
    )
    bill = Settlement(accounts={}, **numbers, peak_mw=1.0, pue=1.1, weighted_terms={}, staging=ran)
    work = WorkBalance(done=0.0, remaining_work={}, lateness=0.0, power_weighted_lateness=0.0)
    one = PolicySummary.of(bill, work, 0)
    assert (one.starts, one.short_runs, one.short_rests, one.early_starts) == (5, 3, 2, 1)
    assert one.violations == 0
    assert PolicySummary.averaged([one, summary()]).starts == 2.5


def test_energy_for_equal_work_includes_the_work_left():
    """50 MWh metered and 8 MWh for the work left are 58 MWh; unknown in one seed, it is unknown."""
    numbers = dict.fromkeys(("carbon_kg", "it_energy_mwh", "water_m3"), 0.0)
    bill = Settlement(
        accounts={},
        **numbers,
        energy_mwh=50.0,
        peak_mw=1.0,
        pue=1.1,
        weighted_terms={},
        work_left_energy_mwh=8.0,
    )
    one = PolicySummary.of(
        bill, WorkBalance(done=0.0, remaining_work={}, lateness=0.0, power_weighted_lateness=0.0), 0
    )
    assert one.energy_equal_work_mwh == 58.0
    unknown = replace(one, energy_equal_work_mwh=None)
    assert PolicySummary.averaged([one, one]).energy_equal_work_mwh == 58.0
    assert PolicySummary.averaged([one, unknown]).energy_equal_work_mwh is None


def test_carbon_for_equal_work_is_averaged_where_known():
    known = summary(carbon_equal_work_kg=10.0)
    assert PolicySummary.averaged([known, summary(carbon_equal_work_kg=20.0)]) == summary(
        carbon_equal_work_kg=15.0
    )
    assert PolicySummary.averaged([known, summary()]).carbon_equal_work_kg is None


def test_fallbacks_are_summed_over_seeds():
    over = PolicySummary.averaged([summary(fallbacks=2), summary(fallbacks=1)])
    assert over.fallbacks == 3
    assert isinstance(over.fallbacks, int)


def test_paired_difference_has_a_student_interval():
    """Differences 1, 2, 3: mean 2, deviation 1, t(0.975; 2) = 4.303, half width 2.484."""
    found = paired_difference([11.0, 22.0, 33.0], [10.0, 20.0, 30.0])
    assert (found.mean, found.pair_count) == (2.0, 3)
    assert found.half_width == pytest.approx(4.3027 / np.sqrt(3.0), rel=1e-4)
    assert (found.is_significant, found.verdict) == (False, "no difference shown")


def test_difference_common_to_all_pairs_is_a_gain():
    """Proves: chance that is common to both values of a pair cancels."""
    found = paired_difference([90.0, 190.0, 289.0], [100.0, 200.0, 300.0])
    assert found.verdict == "lower"
    assert paired_difference([100.0, 200.0, 300.0], [90.0, 190.0, 289.0]).verdict == "higher"


def test_single_pair_has_no_interval():
    found = paired_difference([90.0], [100.0])
    assert (found.half_width, found.is_significant, found.verdict) == (None, False, "unknown")
    assert found.as_json()["low_eur"] is None


def test_unequal_pairs_are_refused():
    with pytest.raises(ProblemError, match="of the same seed and days"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(ProblemError, match="0 values"):
        paired_difference([], [])


def test_differences_are_from_the_harder_rule():
    found = results(immediate=5.0, threshold_capped=3.0, deterministic=2.0)
    assert found.reference_policy == "threshold_capped"
    assert {name: one.mean for name, one in found.differences.items()} == {
        "immediate": 2.0,
        "deterministic": -1.0,
    }
    assert results(immediate=5.0).differences == {}


def test_the_json_has_the_keys_of_the_command():
    document = results(
        immediate=4.0, threshold_capped=3.0, deterministic=2.0, perfect=1.0
    ).as_json()
    document = json.loads(json.dumps(document, allow_nan=False))
    assert {"site", "start", "days", "cpu_s", "capture", "captures", "gaps", "policies"} <= set(
        document
    )
    assert set(document["policies"]) == {
        "deterministic",
        "immediate",
        "threshold_capped",
        "perfect",
    }
    wanted = "objective cost_eur carbon_kg energy_mwh it_energy_mwh water_m3 peak_mw lateness_h"
    wanted += " violations pue work_done energy_equal_work_mwh"
    wanted += " carbon_equal_work_kg fallbacks"
    assert set(wanted.split()) <= set(document["policies"]["deterministic"])
    assert document["by_seed"]["deterministic"] == [asdict(summary(2.0))]
    assert document["accounts"]["deterministic"] == {"electricity": 1.0}
    assert document["weighed"]["deterministic"] == {"carbon": 2.0}


def test_accounts_are_averaged_over_seeds_and_add_up_to_the_cost():
    numbers = dict.fromkeys(("carbon_kg", "energy_mwh", "it_energy_mwh", "water_m3"), 0.0)
    bills = [
        Settlement(accounts=accounts, **numbers, peak_mw=1.0, pue=1.1, weighted_terms={})
        for accounts in ({"electricity": 4.0, "reserves": -1.0}, {"electricity": 2.0})
    ]
    over = mean_accounts([bill.accounts for bill in bills])
    assert over == {"electricity": 3.0, "reserves": -0.5}
    assert sum(over.values()) == np.mean([bill.cost for bill in bills])


@pytest.mark.parametrize("wrong", [{"pue": float("nan")}, {"pue": object()}])
def test_failed_json_write_keeps_the_old_file(tmp_path, wrong):
    path = tmp_path / "results.json"
    write_json_atomic(path, {"pue": 1.1})
    with pytest.raises((ValueError, TypeError)):
        write_json_atomic(path, wrong)
    assert json.loads(path.read_text()) == {"pue": 1.1}
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


WHOSE = {"site": "small", "title": "small, deterministic, plant 0"}


def course(values):
    time = np.array(["2026-06-16", "2026-06-17"], dtype="datetime64[us]")
    dataset = xr.Dataset({"price": ("time", values, {"units": "EUR MWh-1", "gaps": ["a", "b"]})})
    return dataset.assign_coords(time=time).assign_attrs(notes=["x"], typical_year=False)


def test_trajectory_is_written_and_read_back(tmp_path):
    path = tmp_path / "run" / "deterministic_0.nc"
    original = course([1.0, 2.0])
    write_netcdf(path, original, **WHOSE)
    with xr.open_dataset(path, engine="h5netcdf") as read:
        assert read["price"].to_numpy().tolist() == [1.0, 2.0]
        assert read["price"].attrs == {"units": "EUR MWh-1", "gaps": "a; b"}
        own = {"notes": "x", "typical_year": 0, "Conventions": "CF-1.11"}
        assert read.attrs == own | WHOSE
    assert original["price"].attrs["gaps"] == ["a", "b"]  # unchanged
    assert "site" not in original.attrs


def test_written_intervals_have_bounds(tmp_path):
    grid = time_axes.regular_axes(np.datetime64("2026-01-01", "us"), 2)
    write_netcdf(tmp_path / "run.nc", grid, **WHOSE)
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as read:
        assert read["time"].attrs["bounds"] == "time_bnds"
        np.testing.assert_array_equal(read["time_bnds"][:, 0], grid["instant"][:-1])
        np.testing.assert_array_equal(read["time_bnds"][:, 1], grid["instant"][1:])


def test_interrupted_write_keeps_the_old_trajectory(tmp_path, monkeypatch):
    path = tmp_path / "deterministic_0.nc"
    write_netcdf(path, course([1.0, 2.0]), **WHOSE)

    def full_disk(_, path, **__):
        path.write_bytes(b"half")
        raise BlockingIOError

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full_disk)
    with pytest.raises(JournalError):
        write_netcdf(path, course([9.0, 9.0]), **WHOSE)
    monkeypatch.undo()
    with xr.open_dataset(path, engine="h5netcdf") as read:
        assert read["price"].to_numpy().tolist() == [1.0, 2.0]
