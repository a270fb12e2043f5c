"""The folder of a back-test holds one back-test with its identity; policies can be added."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest

import sites
from optimizer.backtesting.run_folder import (
    build_identity,
    check_run_site,
    describe_identity_differences,
    open_run_folder,
    read_backtest_decision,
    read_results,
    read_trajectory,
    write_results,
)
from optimizer.inputs.series_files import read_run_inputs
from tests.support import small_days
from tests.support.summaries import results
from twin.errors import IssueCode, ProblemError, StateError

OLD = {"site": "small", "start": "2026-06-16T00:00:00.000000", "days": 1, "load_scale": 0.6}
"""Identity of version 1."""


def identity(site=None, world=None, *, load_scale=0.6, seeds=1):
    here = site or sites.load_site("small")
    return build_identity(here, world or small_days.world(), load_scale=load_scale, seeds=seeds)


def with_series(name, change):
    """Return the inputs with one series changed."""
    world = small_days.world()
    record = world.series.copy(deep=True)
    record[name].values[100] += change
    return replace(world, series=record)


def with_jobs():
    world = small_days.world()
    jobs = world.jobs.copy()
    jobs.loc[7, "length"] += 0.1
    return replace(world, jobs=jobs)


def test_announcements_are_part_of_a_run_and_ids_of_jobs_are_not():
    """Proves: folders written before jobs had ids stay valid, and other announcements are refused.

    Sensitivity: a digest over all columns of jobs would refuse each earlier folder.
    """
    world = small_days.world()
    renamed = replace(world, jobs=world.jobs.assign(id="other"))
    assert identity(world=renamed) == identity()
    made = pd.DataFrame({"id": ["2026/1", "2026/2"], "start": pd.to_datetime(["2026-06-16"] * 2)})
    announced, later = (
        identity(world=replace(world, announced=made.assign(length=length)))
        for length in (1.0, 2.0)
    )
    assert set(announced["digests"]) - set(identity()["digests"]) == {"announced"}
    assert list(describe_identity_differences(announced, later)) == ["another content of announced"]


def test_same_run_reuses_its_folder_despite_renamed_files(tmp_path):
    open_run_folder(tmp_path / "run", identity())
    write_results(tmp_path / "run", results(threshold_capped=100.0))
    files = small_days.files(prices=shutil.copy(sites.series_file("prices"), tmp_path / "mine.csv"))
    again = read_run_inputs(sites.load_site("small"), files, start=small_days.START, days=1)
    open_run_folder(tmp_path / "run", identity(world=again))
    assert list(read_results(tmp_path / "run").policies) == ["threshold_capped"]


def issue(error):
    (one,) = error.value.issues
    return one


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "difference"),
    [
        ({"seeds": 2}, "(seeds 1, not 2)"),
        ({"load_scale": 0.5}, "(load scale 0.6, not 0.5)"),
        ({"site": sites.load_site("rhine")}, "(site small, not rhine)"),
        ({"world": small_days.world(2)}, "(days 1, not 2)"),
        ({"world": with_series("electricity_price", 0.01)}, "of electricity price)"),
        ({"world": with_series("air_temperature", 0.1)}, "of air temperature)"),
        ({"world": with_jobs()}, "(another content of jobs)"),
        (
            {"site": sites.load_site("small").with_parameters("tank_1", volume="900 m3")},
            "(another content of declared site)",
        ),
    ],
)
def test_another_run_is_refused_with_the_difference(tmp_path, words, difference):
    """Proves: all inputs of the results are compared. Sensitivity: only names and days."""
    open_run_folder(tmp_path, identity())
    write_results(tmp_path, results(threshold_capped=100.0))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ProblemError) as refused:
        open_run_folder(tmp_path, identity(**words))
    found = issue(refused)
    assert (found.code, found.location) == (IssueCode.INCONSISTENT, "--out")
    assert difference in found.found
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    open_run_folder(tmp_path, identity())


def test_policies_are_added_to_a_folder(tmp_path):
    open_run_folder(tmp_path, identity())
    write_results(tmp_path, results(threshold_capped=100.0, perfect=60.0))
    open_run_folder(tmp_path, identity())
    whole = write_results(tmp_path, results(deterministic=70.0))
    assert whole.capture == pytest.approx(0.75)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert list(stored["policies"]) == ["threshold_capped", "perfect", "deterministic"]
    assert stored["capture"] == pytest.approx(0.75)
    assert read_results(tmp_path) == replace(whole, cpu_s=stored["cpu_s"])


@pytest.mark.parametrize("earlier", [OLD, OLD | {"version": 2}, OLD | {"version": 5}])
def test_folder_of_another_version_accepts_no_run(tmp_path, earlier):
    (tmp_path / "run.json").write_text(json.dumps(earlier))
    with pytest.raises(ProblemError) as refused:
        open_run_folder(tmp_path, identity())
    assert issue(refused).code is IssueCode.WRONG_VERSION
    check_run_site(tmp_path, sites.load_site("small"))
    assert json.loads((tmp_path / "run.json").read_text()) == earlier


def test_readers_refuse_a_folder_of_another_version(tmp_path):
    """Proves: `threshold` of an earlier folder is not read as the present rule."""
    (tmp_path / "run.json").write_text(json.dumps(OLD | {"version": 3}))
    for read in (read_results, read_trajectory, read_backtest_decision):
        with pytest.raises(StateError) as refused:
            read(tmp_path)
        assert issue(refused).code is IssueCode.WRONG_VERSION


def test_results_without_an_identity_are_kept(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(ProblemError) as refused:
        open_run_folder(tmp_path, identity())
    assert issue(refused).code is IssueCode.MISSING
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("text", ["[]", '{"site": "sm', '{"version": 4, "site": "small"}'])
def test_folder_with_damaged_identity_accepts_no_run(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(StateError) as refused:
        open_run_folder(tmp_path, identity())
    found = issue(refused)
    assert (found.code, found.location) == (IssueCode.CORRUPT, str(tmp_path / "run.json"))
    assert (tmp_path / "run.json").read_text() == text


@pytest.mark.parametrize("text", ["{}", "[]", '{"site": "sm'])
def test_folder_with_damaged_results_accepts_no_run(tmp_path, text):
    open_run_folder(tmp_path, identity())
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(StateError) as refused:
        open_run_folder(tmp_path, identity())
    found = issue(refused)
    assert (found.code, found.location) == (IssueCode.CORRUPT, str(tmp_path / "results.json"))


def test_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ProblemError) as refused:
        open_run_folder(tmp_path / "notes.txt", identity())
    assert issue(refused).code is IssueCode.FILE_ERROR
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_run_of_another_site_is_refused(tmp_path):
    open_run_folder(tmp_path, identity())
    check_run_site(tmp_path, sites.load_site("small"))
    with pytest.raises(StateError) as refused:
        check_run_site(tmp_path, sites.load_site("rhine"))
    assert issue(refused).found == "a run of small"


def test_site_digest_covers_parameters_and_no_class_names():
    """Proves: equal parameters give equal digests, under whatever name their class has."""
    here = sites.load_site("small")
    machines = dict(here.equipment)
    battery = machines["battery_1"]
    renamed = type("Accumulator", (type(battery),), {"__module__": type(battery).__module__})
    machines["battery_1"] = renamed.model_validate(
        battery.model_dump(), context={"canonical": True}
    )
    assert here.with_equipment(machines).parameter_digest == here.parameter_digest
    larger = here.with_parameters("battery_1", capacity=2.0)
    assert larger.parameter_digest != here.parameter_digest
