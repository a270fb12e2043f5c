"""`--export-mps` writes the solved model, and another program finds the same optimum."""

import gzip

import highspy
import numpy as np
import pytest
from typer.testing import CliRunner

import sites
from optimizer.backtesting.runner import run_backtest_policy
from optimizer.cli import app
from optimizer.planner.planner import solve_problem
from tests.support import small_days


def optimum(path):
    """Return the least cost of a model file, found by the solver with default options."""
    other = highspy.Highs()
    other.setOptionValue("output_flag", False)
    assert other.readModel(str(path)) == highspy.HighsStatus.kOk
    other.run()
    assert other.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return other.getObjectiveValue()


@pytest.mark.parametrize("ending", [".mps", ".mps.gz", ".lp"])
def test_a_model_read_back_has_the_same_optimum(tmp_path, ending):
    path = tmp_path / "new" / f"model{ending}"
    solution = solve_problem(small_days.problem(), export=path)
    assert optimum(path) == pytest.approx(solution.relaxed_objective, rel=1e-9)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_packed_models_are_packed(tmp_path):
    path = tmp_path / "model.mps.gz"
    solve_problem(small_days.problem(), export=path)
    assert gzip.decompress(path.read_bytes()).startswith(b"NAME")


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["deterministic", "perfect"])
def test_every_decision_of_a_planning_policy_is_written(tmp_path, policy):
    trial = run_backtest_policy(
        small_days.setting(2), policy, seed=0, on_progress=lambda *_: None, export_folder=tmp_path
    )
    folder = tmp_path / f"{policy}_0"
    starts = [np.datetime_as_string(each.start, unit="m") for each in trial.decisions]
    assert [f"{start.replace(':', '')}Z.mps.gz" for start in starts] == sorted(
        path.name for path in folder.iterdir()
    )
    for start, decision in zip(starts, trial.decisions, strict=True):
        paid = sum(decision.explanation.accounts.values())
        found = optimum(folder / f"{start.replace(':', '')}Z.mps.gz")
        assert found == pytest.approx(paid, rel=1e-3)  # without the penalty on waste
        assert found <= paid + 1e-6 * abs(paid)


@pytest.mark.slow
def test_command_writes_models_for_planning_policies_only(tmp_path):
    arguments = ["backtest", "small", "--start", "2026-06-16", "--days", "1"]
    for name in ("prices", "weather", "jobs"):
        arguments += [f"--{name}", str(sites.series_file(name))]
    arguments += ["--policies", "immediate", "--export-mps", str(tmp_path)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert list(tmp_path.iterdir()) == []
