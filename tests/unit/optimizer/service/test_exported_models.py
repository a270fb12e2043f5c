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


@pytest.mark.parametrize("ending", [".mps", ".lp"])
def test_columns_and_rows_name_machine_quantity_and_time(tmp_path, ending):
    """Proves: a reader of the file finds the charging power of a quarter-hour by its name."""
    path = tmp_path / f"model{ending}"
    problem = small_days.problem()
    solution = solve_problem(problem, export=path)
    other = highspy.Highs()
    other.setOptionValue("output_flag", False)
    assert other.readModel(str(path)) == highspy.HighsStatus.kOk
    model = other.getLp()
    assert len(set(model.col_names_)) == model.num_col_
    assert len(set(model.row_names_)) == model.num_row_
    stamps = [
        np.datetime_as_string(stamp, unit="m").replace("-", "").replace(":", "") + "Z"
        for stamp in problem.outlook["time"].to_numpy()
    ]
    names = [f"battery_1.charge({stamp})" for stamp in stamps]
    upper = dict(zip(model.col_names_, model.col_upper_, strict=True))
    power = problem.site.equipment["battery_1"].power
    assert [upper[name] for name in names] == pytest.approx([power] * len(names))
    assert f"battery_1.soc_balance({stamps[-1]})" in model.row_names_
    assert len(names) == len(solution.values["battery_1.charge"])


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
        paid = decision.objective
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
