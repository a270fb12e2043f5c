"""A fleet in closed loop: jobs move, no work is lost, and sites can run alone."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.backtesting import fleet_run
from optimizer.backtesting.fleet_run import FleetSiteRun, run_fleet
from tests.support import small_days
from twin.errors import NoScheduleError, ProblemError
from twin.plots import plot_fleet
from twin.site_settings import FleetRoute

pytestmark = pytest.mark.slow

HOURS = 3
ROUTE = {"kind": "batch", "transfer_time": "30 min", "window": "4 h", "cost": "1 EUR/MWh"}


def setting(name, factor, hours=HOURS):
    """Return the case of a small day with another name and other prices."""
    usual = small_days.setting(hours)
    series, actual = (
        data.assign(electricity_price=factor * data["electricity_price"]).pipe(_as, data)
        for data in (usual.inputs.series, usual.true_series)
    )
    site = usual.site.model_copy(update={"name": name})
    return replace(
        usual,
        site=site,
        initial_state=usual.initial_state.assign_attrs(site.identity),
        inputs=replace(usual.inputs, series=series),
        true_series=actual,
    )


def _as(data, usual):
    data["electricity_price"].attrs = usual["electricity_price"].attrs
    return data


@pytest.fixture(scope="module")
def settings():
    return pair()


def pair(hours=HOURS):
    return setting("dear", 3.0, hours), setting("cheap", 0.5, hours)


@pytest.fixture(scope="module")
def routes():
    return {"union": FleetRoute.model_validate(ROUTE)}


@pytest.fixture(scope="module")
def found(settings, routes):
    progress = []
    shared = run_fleet(settings, routes, on_progress=lambda *step: progress.append(step))
    return shared, progress


def test_jobs_move_from_the_expensive_to_the_cheap_site(found):
    shared, _ = found
    assert {(parcel.sending_site, parcel.receiving_site) for parcel in shared.transfers} == {
        ("dear", "cheap")
    }
    moved = sum(parcel.energy for parcel in shared.transfers)
    assert moved > 0.05
    assert shared.sent_work("dear") == shared.received_work("cheap") == pytest.approx(moved)
    assert shared.move_cost == pytest.approx(1.0 * moved)
    assert shared.saved_objective > 0.0
    assert not shared.failed_plans


def test_no_work_is_lost_in_transfer(found):
    shared, _ = found
    alone, together = (
        sum(trial.summary.work_done for trial in trials.values())
        for trials in (shared.independent_runs, shared.shared_runs)
    )
    assert together == pytest.approx(alone, rel=1e-9)
    dear = shared.shared_runs["dear"].summary.work_done
    assert dear == pytest.approx(
        shared.independent_runs["dear"].summary.work_done - shared.sent_work("dear")
    )


def test_moved_work_starts_after_its_arrival(found):
    """Jobs are ready half an hour after they leave, and keep their deadlines."""
    shared, _ = found
    assert shared.transfers
    for parcel in shared.transfers:
        assert parcel.earliest_start - parcel.departure == np.timedelta64(30, "m")
        assert (parcel.jobs.deadline >= parcel.earliest_start).all()


def test_no_limit_is_violated_and_every_step_is_reported(found):
    shared, progress = found
    assert [trial.summary.violations for trial in shared.shared_runs.values()] == [0, 0]
    steps = 4 * HOURS
    assert progress[-steps:] == [("shared", "dear, cheap", n + 1, steps) for n in range(steps)]
    assert len(progress) == 3 * steps


def test_json_totals_add_up(found):
    shared, _ = found
    document = shared.as_json()
    assert document["saved"] == pytest.approx(
        document["objective_alone"] - document["objective"], abs=0.02
    )
    assert sum(parcel["mwh"] for parcel in document["parcels"]) == pytest.approx(
        document["sites"]["cheap"]["takes_in_mwh"], abs=0.01
    )
    assert document["sites"]["dear"]["takes_in_mwh"] == 0


def test_without_a_common_plan_sites_run_alone(settings, routes, monkeypatch):
    """Proves: both runs use equal plants and policies, and a failure leaves each site its plan."""

    def fails(*_, **__):
        raise NoScheduleError("none")

    monkeypatch.setattr(fleet_run, "decide_rolling", fails)
    shared = run_fleet(settings, routes)
    assert not shared.transfers
    hours = [f"2026-06-16T{hour:02d}:00Z" for hour in range(HOURS)]
    assert shared.failed_plans == dict.fromkeys(hours, "none")
    assert shared.independent_runs
    for name, trial in shared.independent_runs.items():
        assert shared.shared_runs[name].summary == trial.summary


def test_activation_during_an_exchange_is_planned_once(routes, monkeypatch):
    """Proves: no site replaces the common plan of the same moment by its own."""
    observe = FleetSiteRun.observe
    monkeypatch.setattr(
        FleetSiteRun, "observe", lambda run: replace(observe(run), has_new_request=True)
    )
    runs = run_fleet(pair(hours=1), routes).shared_runs
    assert set(runs) == {"dear", "cheap"}
    for trial in runs.values():
        assert len(trial.decisions) == 4


def test_a_fleet_of_one_is_refused_before_it_runs(settings, routes):
    with pytest.raises(ProblemError, match="at least two sites"):
        run_fleet(settings[:1], routes)


def test_sites_of_other_days_are_refused_before_they_run(settings, routes):
    dear, cheap = settings
    later = replace(
        cheap, inputs=replace(cheap.inputs, end=cheap.inputs.end + np.timedelta64(1, "h"))
    )
    with pytest.raises(ProblemError, match=r"cheap, days .*the days of dear"):
        run_fleet((dear, later), routes)


def test_the_figure_has_a_panel_for_each_site(found, tmp_path):
    shared, _ = found
    alone, together = (
        {name: trial.trajectory for name, trial in trials.items()}
        for trials in (shared.independent_runs, shared.shared_runs)
    )
    sent = {"dear": np.full(4 * HOURS, 0.3), "cheap": np.full(4 * HOURS, -0.3)}
    figure = plot_fleet(alone, together, sent, title="two sites")
    day = str(together["dear"]["time"].to_numpy()[0])[:10]
    assert figure.get_suptitle() == f"two sites, from {day}"
    assert len(figure.axes) == 4
    assert [text.get_text() for text in figure.axes[2].get_legend().get_texts()] == [
        "dear alone",
        "dear shared",
    ]
    figure.savefig(tmp_path / "fleet.png")
    assert (tmp_path / "fleet.png").stat().st_size > 10_000
