"""Conversion of results folders of earlier versions, with earlier policy names."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import sites
from optimizer.backtesting import run_folder
from optimizer.backtesting.run_folder import (
    IDENTITY_FORMAT_VERSION,
    build_identity,
    convert_run_folder,
    open_run_folder,
    read_backtest_decision,
    read_results,
    read_trajectory,
    write_policy_run,
)
from optimizer.backtesting.runner import run_backtest_policy
from tests.support import small_days
from tests.support.summaries import results
from twin.errors import IssueCode, ProblemError, StateError

EARLIER = {
    "threshold_capped": "threshold",
    "threshold": "uncapped",
    "deterministic": "optimal",
    "hedged": "cvar",
    "carbonscaler": "scaling",
    "deterministic+jobs": "optimal+jobs",
    "perfect": "perfect",
}
"""Present name -> name in versions 1 to 3."""


@pytest.fixture(scope="module")
def runs():
    """Return runs of an hour: the three whose files the tests look into."""
    case = small_days.setting(1)
    names = ("threshold_capped", "threshold", "deterministic")
    return {
        name: run_backtest_policy(case, name, seed=0, on_progress=lambda *_: None) for name in names
    }


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    """Draw empty pictures; their content is tested elsewhere."""
    monkeypatch.setattr("twin.plots.plot_run", lambda *_, **__: Figure(figsize=(1, 1)))


@pytest.fixture(params=[2])
def folder(request, runs, tmp_path):
    """Return a folder as an earlier version wrote it, by default version 2."""
    case, run_folder = small_days.setting(1), tmp_path / "run"
    for name in (
        "deterministic",
        "threshold",
        "threshold_capped",
    ):  # each makes the next name available
        write_policy_run(run_folder, case.site, runs[name])
        for path in list(run_folder.glob(f"{name}_0.*")):
            path.replace(path.with_name(path.name.replace(name, EARLIER[name])))
    content = results(**{name: float(place) for place, name in enumerate(EARLIER)}).as_json()
    del content["captures"]
    for key in ("policies", "by_seed", "accounts", "weighed", "broken"):
        content[key] = {EARLIER[name]: value for name, value in content[key].items()}
    for summaries in (content["policies"].values(), *content["by_seed"].values()):
        for summary in summaries:
            del summary["energy_equal_work_mwh"]
    (run_folder / "results.json").write_text(json.dumps(content))
    identity = build_identity(case.site, case.inputs, load_scale=0.6, seeds=1)
    identity |= {"version": request.param}
    if request.param == 1:
        del identity["version"], identity["seeds"], identity["digests"]
    (run_folder / "run.json").write_text(json.dumps(identity))
    return run_folder


def check_converted(folder, runs):
    """Check that every file of a converted folder has the content of its present name."""
    assert sorted(path.name for path in folder.iterdir()) == [
        "deterministic_0.decisions.json",
        "deterministic_0.nc",
        "deterministic_0.png",
        "results.json",
        "run.json",
        "threshold_0.nc",
        "threshold_0.png",
        "threshold_capped_0.nc",
        "threshold_capped_0.png",
    ]
    for name, run in runs.items():
        trajectory = read_trajectory(folder, policy=name)
        expected = run.trajectory["facility_power"].to_numpy()
        assert (trajectory["facility_power"].to_numpy() == expected).all()
        assert trajectory.attrs["title"] == f"small, {name}, plant 0"
    assert read_backtest_decision(folder)["start"] == "2026-06-16T00:00Z"
    found = read_results(folder)
    objectives = {name: summary.objective for name, summary in found.policies.items()}
    assert objectives == {name: float(place) for place, name in enumerate(EARLIER)}
    assert found.policies["threshold"].energy_equal_work_mwh is None
    assert list(found.accounts) == list(found.weighed) == list(found.broken) == list(EARLIER)
    assert json.loads((folder / "run.json").read_text())["version"] == IDENTITY_FORMAT_VERSION


@pytest.mark.parametrize("folder", [1, 2, 3], indirect=True)
def test_each_file_gets_its_present_name(folder, runs):
    site = sites.load_site("small")
    announcement = " ".join(convert_run_folder(folder, site))
    assert "threshold is now threshold_capped" in announcement
    check_converted(folder, runs)
    assert convert_run_folder(folder, site) == []


def test_no_policies_join_a_converted_folder(folder):
    """Proves: results of a site that cannot be compared are not merged."""
    case = small_days.setting(1)
    convert_run_folder(folder, case.site)
    with pytest.raises(ProblemError) as refused:
        open_run_folder(folder, build_identity(case.site, case.inputs, load_scale=0.6, seeds=1))
    assert refused.value.issues[0].code is IssueCode.WRONG_VERSION


@pytest.mark.parametrize("step", [4, 11, 18])
def test_an_interrupted_conversion_continues(folder, runs, monkeypatch, step):
    """Proves: no file is renamed twice. Sensitivity: threshold would become threshold_capped."""
    path_type, calls, site = type(folder), [], sites.load_site("small")
    replace = path_type.replace

    def interrupted(path, target):
        calls.append(path)
        if len(calls) > step:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(path_type, "replace", interrupted)
    try:
        convert_run_folder(folder, site)
    except KeyboardInterrupt:
        monkeypatch.undo()
        convert_run_folder(folder, site)
    monkeypatch.undo()
    check_converted(folder, runs)


def test_a_folder_that_is_not_writable_is_an_error(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "replace", refuse)
    with pytest.raises(StateError) as refused:
        convert_run_folder(folder, sites.load_site("small"))
    assert refused.value.issues[0].code is IssueCode.FILE_ERROR


def test_damaged_results_stop_a_conversion_before_it_begins(folder):
    (folder / "results.json").write_text('{"policies": {"optimal": 3}}')
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(StateError) as refused:
        convert_run_folder(folder, sites.load_site("small"))
    assert refused.value.issues[0].code is IssueCode.CORRUPT
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_folder_of_a_fleet_has_no_identity_and_is_converted(folder):
    for name in ("run.json", "results.json"):
        (folder / name).unlink()
    for path in [*folder.glob("threshold_*"), *folder.glob("uncapped_*")]:
        path.unlink()
    assert convert_run_folder(folder, sites.load_site("small"))
    assert read_backtest_decision(folder)["start"] == "2026-06-16T00:00Z"


def test_names_of_golden_comparisons_are_those_of_the_converter():
    names = json.loads((Path(__file__).parents[3] / "golden/earlier_names.json").read_text())
    assert names["policies"] == run_folder.PRESENT_POLICY_NAMES
