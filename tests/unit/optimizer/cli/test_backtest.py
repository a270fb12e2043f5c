"""`gigatwin backtest` and `gigatwin explain`: outputs and refused input."""

import io
import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

import sites
from optimizer.backtesting.run_folder import read_trajectory, save_comparison, write_policy_run
from optimizer.backtesting.runner import run_backtest_policy as run_policy
from optimizer.cli import app
from optimizer.cli.backtest import _show
from sites.catalogue import SITES_DIR
from tests.support import small_days
from tests.support.summaries import results, summary


@pytest.fixture
def run():
    """Return a function that runs a day of the small site in this process."""

    def invoke(*words, site="small", start="2026-06-16", policies="immediate", **files):
        arguments = ["backtest", site, "--start", start, "--days", "1", "--policies", policies]
        for name in ("prices", "weather", "jobs"):
            arguments += [f"--{name}", files.get(name, sites.series_file(name))]
        return CliRunner().invoke(app, [str(word) for word in [*arguments, *words]])

    return invoke


@pytest.fixture
def changed_series(tmp_path):
    """Return a function that copies a synthetic series with some text replaced."""

    def copy(name, old, new):
        source = sites.series_file(name)
        text = source.read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / source.name
        path.write_text(text.replace(old, new), encoding="utf-8")
        return path

    return copy


def refused(result, *words):
    assert result.exit_code == 1, result.stdout
    assert isinstance(result.exception, SystemExit), result.exception
    for word in words:
        assert word in result.stderr, result.stderr


def test_unknown_time_zone_is_refused(run):
    refused(run("--zone", "Europe/Berlinn"), "'Europe/Berlinn'", "did you mean Europe/Berlin?")


def test_announcements_need_their_jobs_and_are_noted(run, tmp_path):
    announced = tmp_path / "announced.csv"
    head = "announced_at,id,expected_start,length,cpus,user"
    announced.write_text(f"{head}\n3980,1,3990,2,1,ana\n")
    refused(run("--announced", announced), "announced.csv", "name the file of jobs too")
    jobs = tmp_path / "jobs.csv"
    jobs.write_text("arrival_time,length\n" + "".join(f"{hour},2\n" for hour in range(3650, 4000)))
    result = run("--announced", announced, "--json", "-", jobs=jobs)
    assert result.exit_code == 0, result.stderr
    notes = json.loads(result.stdout)["notes"]
    assert "announced.csv: not read: user" in notes
    assert any(note.startswith("announced work: confidence") for note in notes)


@pytest.fixture(scope="module")
def rule_day(tmp_path_factory):
    """Return the result and folder of a day of one rule."""
    folder = tmp_path_factory.mktemp("day")
    arguments = ["backtest", "small", "--start", "2026-06-16", "--days", "1", "--seeds", "1"]
    for name in ("prices", "weather", "jobs"):
        arguments += [f"--{name}", str(sites.series_file(name))]
    arguments += ["--policies", "immediate", "--out", str(folder), "--json", "-"]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}), folder


def test_json_has_its_keys(rule_day):
    result, _ = rule_day
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert {"site", "start", "days", "cpu_s", "capture", "gaps", "policies"} <= set(document)
    assert (document["site"], document["days"], document["capture"]) == ("small", 1, None)
    keys = "objective cost_eur carbon_kg energy_mwh it_energy_mwh water_m3 peak_mw lateness_h"
    assert set(f"{keys} violations pue work_done".split()) <= set(document["policies"]["immediate"])
    money = document["accounts"]["immediate"]
    assert sum(money.values()) == pytest.approx(document["policies"]["immediate"]["cost_eur"])
    assert "  electricity" in result.stderr


def test_table_and_progress_go_to_standard_error(rule_day):
    result, folder = rule_day
    assert "reading the series of small" in result.stderr
    assert "violations" in result.stderr
    assert "immediate, plant 0: 96 of 96 quarter-hours" in result.stderr
    assert str(folder) in result.stderr.replace("\n", "")


def test_folder_holds_the_same_results(rule_day):
    result, folder = rule_day
    assert json.loads((folder / "results.json").read_text()) == json.loads(result.stdout)
    assert (folder / "immediate_0.nc").exists()
    assert (folder / "immediate_0.png").exists()
    assert (folder / "policies.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_missing_carbon_is_not_reported_as_zero(run, tmp_path):
    """Proves: without carbon data a run reports none, and `report` has no CUE.

    Sensitivity: the table and the report to the regulator showed 0 for both.
    """
    table = pd.read_csv(sites.series_file("prices"))
    table.drop(columns=["ci_direct", "ci_lca"]).to_csv(tmp_path / "prices.csv", index=False)
    page, folder = tmp_path / "table.md", tmp_path / "run"
    done = run("--markdown", page, "--out", folder, prices=tmp_path / "prices.csv")
    assert done.exit_code == 0, done.stderr
    assert "no carbon intensity in the file of prices" in done.stdout
    assert "carbon" not in page.read_text()
    report = CliRunner().invoke(
        app, ["report", "small", str(folder / "immediate_0.nc"), "--json", "-"]
    )
    assert "CUE" not in json.loads(report.stdout)["figures"]
    assert "carbon_intensity" not in read_trajectory(folder, policy="immediate")


def test_unknown_policy_is_refused_with_known_ones(run):
    refused(run(policies="optimal,greedy"), "--policies = greedy", "threshold_capped")
    refused(run(policies="Threshold"), "--policies = Threshold", "did you mean threshold?")


@pytest.mark.parametrize(("share", "bound"), [("0.001", "0.01"), ("0.96", "0.95"), ("nan", "")])
def test_load_scale_outside_its_bounds_is_refused(run, share, bound):
    result = run("--load-scale", share)
    assert result.exit_code == 2
    assert "--load-scale" in result.stderr
    assert bound in result.stderr


@pytest.mark.parametrize(
    ("option", "made", "words"),
    [
        ("--markdown", "folder", "is a folder; name a file"),
        ("--json", "folder", "is a folder; name a file"),
        ("--export-mps", "file", "none can be created there (File exists)"),
        ("--markdown", "below", "none can be created there (File exists)"),
    ],
)
def test_unwritable_output_is_refused_before_the_run(run, tmp_path, option, made, words):
    """Proves: a long run does not end without results. Sensitivity: it read the series first."""
    path = tmp_path / "there"
    path.mkdir() if made == "folder" else path.write_text("")
    result = run(option, path / "x" if made == "below" else path)
    refused(result, words)
    assert option.lstrip("-") in result.stderr
    assert "reading the series" not in result.output


@pytest.mark.slow
def test_synthetic_jobs_are_used_and_a_policy_runs_once():
    arguments = ["backtest", "small", "--start", "2026-06-16", "--days", "1", "--json", "-"]
    for name in ("prices", "weather"):
        arguments += [f"--{name}", str(sites.series_file(name))]
    result = CliRunner().invoke(app, [*arguments, "--policies", "immediate,immediate"])
    assert result.exit_code == 0, result.stderr
    assert "synthetic jobs; name your own with --jobs FILE" in result.stderr
    assert len(json.loads(result.stdout)["by_seed"]["immediate"]) == 1


def test_synthetic_year_is_used_and_labelled(tmp_path):
    path = tmp_path / "out.json"
    words = ["backtest", "small", "--days", "1", "--policies", "immediate", "--json", str(path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    assert "note: synthetic prices" in result.stdout
    found = json.loads(path.read_text())
    assert found["start"] == "2026-06-16T00:00Z"
    assert "synthetic, nothing is measured: prices, weather, jobs" in found["notes"]


@pytest.mark.parametrize(("given", "missing"), [("prices", "weather"), ("weather", "prices")])
def test_prices_and_weather_are_given_together(given, missing):
    file = sites.series_file(given)
    refused(CliRunner().invoke(app, ["backtest", "small", f"--{given}", str(file)]), f"--{missing}")


def test_own_series_need_a_start():
    files = [f"--{name}={sites.series_file(name)}" for name in ("prices", "weather")]
    refused(CliRunner().invoke(app, ["backtest", "small", *files]), "--start", "a date")


def test_unknown_site_is_refused(run):
    refused(run(site="smal"), "SiteError", "small")


def test_start_outside_the_series_is_refused_with_its_range(run):
    refused(run(start="2024-06-16"), "SeriesError", "synthetic_prices.csv", "2026-06-01")


def test_invalid_start_is_refused(run):
    refused(run(start="soon"), "moment = 'soon'")


def test_start_between_quarter_hours_is_refused(run):
    refused(run(start="2026-06-16T00:07"), "2026-06-16T00:07", "quarter")


def test_missing_column_is_refused_by_file(run, changed_series):
    prices = changed_series("prices", "price_eur_mwh", "volume")
    refused(run(prices=prices), "synthetic_prices.csv", "price_eur_mwh")


def test_prices_in_another_unit_are_refused(run, changed_series):
    prices = changed_series("prices", "price_eur_mwh", "Price (GBP/MWh)")
    refused(run(prices=prices), "synthetic_prices.csv", "convert it to EUR/MWh")


def test_naive_times_of_unknown_zone_are_refused(run, changed_series):
    prices = changed_series("prices", "+00:00", "")
    text = prices.read_text().replace("time_utc", "time")
    prices.write_text(text)
    result = run("--zone", "Atlantis", prices=prices)
    refused(result, "Atlantis")


def test_duplicate_time_is_refused_by_row(run, changed_series):
    prices = changed_series("prices", "2026-06-16 01:00:00", "2026-06-16 00:00:00")
    refused(run(prices=prices), "synthetic_prices.csv, row", "2026-06-16T00:00")


def test_jobs_without_a_length_are_refused(run, changed_series):
    refused(run(jobs=changed_series("jobs", "length", "width")), "synthetic_jobs.csv", "length")


def test_missing_file_is_refused(run, tmp_path):
    refused(run(prices=tmp_path / "none.csv"), "none.csv")


def test_invalid_site_file_is_refused(run, tmp_path):
    site = tmp_path / "broken.toml"
    text = (SITES_DIR / "small.toml").read_text()
    site.write_text(text.replace('import_limit = "4.7 MW"', 'import_limit = "4.7 MWh"'))
    refused(run(site=site), "import_limit", "MWh")


def test_refused_run_keeps_earlier_results(run, rule_day, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(rule_day[1], folder)
    before = (folder / "results.json").read_bytes()
    refused(run("--out", folder, start="2024-06-16"))
    assert (folder / "results.json").read_bytes() == before


@pytest.mark.slow
def test_folder_accepts_other_policies_but_not_other_prices(
    run, rule_day, changed_series, tmp_path
):
    """Proves: a folder is one back-test. Sensitivity: the first policy's numbers were lost."""
    folder = shutil.copytree(rule_day[1], tmp_path / "run")
    first = json.loads((folder / "results.json").read_text())
    result = run("--out", folder, "--json", "-", policies="threshold_capped")
    assert result.exit_code == 0, result.stderr
    assert "the summary there keeps earlier runs of immediate" in result.stderr
    assert list(json.loads(result.stdout)["policies"]) == ["threshold_capped"]
    document = json.loads((folder / "results.json").read_text())
    assert list(document["policies"]) == ["immediate", "threshold_capped"]
    assert document["policies"]["immediate"] == first["policies"]["immediate"]
    before = (folder / "results.json").read_bytes()
    lines = sites.series_file("prices").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.startswith("2026-06-16 12:00"))
    stamp, price, *rest = row.split(",")
    dear = changed_series("prices", row, ",".join([stamp, str(float(price) + 50.0), *rest]))
    words = "another content of electricity price"
    refused(run("--out", folder, prices=dear), "--out", words, "name a new folder")
    assert (folder / "results.json").read_bytes() == before


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a back-test of two hours."""
    here = small_days.setting(2)
    trial = run_policy(here, "deterministic", seed=0, on_progress=lambda *_: None)
    folder = tmp_path_factory.mktemp("run")
    write_policy_run(folder, here.site, trial)
    return folder


def explained(folder, *words, site="small"):
    arguments = ["explain", site, "--run", str(folder), *words]
    return CliRunner().invoke(app, arguments)


def test_last_decision_is_explained(folder):
    result = explained(folder, "--last", "--json", "-")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert {"accounts", "binding", "changes", "degraded"} <= set(document)
    assert document["start"] == "2026-06-16T01:00Z"
    assert "What binds" in result.stderr


def test_time_is_explained_by_the_decision_in_force(folder):
    result = explained(folder, "--at", "2026-06-16T00:50")
    assert result.exit_code == 0, result.stderr
    assert "decision of 2026-06-16T00:00Z" in result.stdout
    assert "power imported from the grid" in result.stdout
    assert "EUR/MWh" in result.stdout


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-06-16T02:00", "from 2026-06-16T00:00Z to 2026-06-16T02:00Z"),
        ("noon", "moment = 'noon'"),
    ],
)
def test_time_outside_the_run_is_refused(folder, at, words):
    refused(explained(folder, "--at", at), words)


def test_time_and_last_together_are_refused(folder):
    refused(
        explained(folder, "--at", "2026-06-16T00:00", "--last"), "--at", "either a time or --last"
    )


def test_folder_without_a_run_is_refused_with_a_remedy(tmp_path):
    refused(explained(tmp_path), "hedged_0.decisions.json", "gigatwin backtest")


def test_run_by_rule_has_no_explanation(tmp_path):
    """Proves: the error names policies that plan."""
    (tmp_path / "threshold_capped_0.nc").touch()
    refused(explained(tmp_path, "--policy", "threshold_capped"), "is a rule without plans")


def test_seed_that_was_not_run_is_refused(folder):
    refused(explained(folder, "--seed", "3"), "deterministic_3.decisions.json")


@pytest.mark.slow
def test_all_policies_run_a_day(run, tmp_path):
    words = ("--out", tmp_path, "--json", tmp_path / "results_copy.json")
    result = run(*words, policies="immediate,threshold_capped,optimal,perfect")
    assert result.exit_code == 0, result.stderr
    document = json.loads((tmp_path / "results_copy.json").read_text())
    assert list(document["policies"]) == [
        "immediate",
        "threshold_capped",
        "hedged",
        "perfect",
    ]
    assert "capture" in result.stdout
    assert set(document["risk"]) == {"hedged"}
    assert "hedged: risk level 0.9, weight of the tail 0.3" in result.stdout
    assert explained(tmp_path).exit_code == 0


def test_table_keeps_its_units(rule_day):
    result, _ = rule_day
    for heading in ("objective [EUR]", "carbon, equal work [t]", "water [m3]", "late [h]"):
        assert heading in result.stderr


@pytest.mark.parametrize(("backlog", "is_told"), [(-9180.0, True), (5521.0, False)])
def test_backlog_that_earns_money_is_noted(backlog, is_told):
    """At a mean price of -60 EUR/MWh, doing nothing is best."""
    page = io.StringIO()
    summary = replace(results(deterministic=1.0), accounts={"deterministic": {"backlog": backlog}})
    _show(Console(width=240, file=page, markup=False), summary)
    assert ("the mean price of the run is below 0" in page.getvalue()) == is_told


@pytest.mark.parametrize(
    ("perfect", "late", "words"),
    [
        (105.0, 0.0, ("no capture over threshold_capped: perfect foresight saves nothing",)),
        (
            60.0,
            9.5,
            ("capture 75.0% over", "deterministic is late by 9.5 h, threshold_capped by 0.0 h"),
        ),
    ],
)
def test_limits_of_the_comparison_are_noted(perfect, late, words):
    """Proves: no share of zero is printed, and lateness is named beside a saving."""
    page = io.StringIO()
    summary = results(threshold_capped=100.0, deterministic=70.0, perfect=perfect)
    hours = {"threshold_capped": 0.0, "deterministic": late, "perfect": 0.0}
    of = {name: replace(one, lateness_h=hours[name]) for name, one in summary.policies.items()}
    _show(Console(width=240, file=page, markup=False), replace(summary, policies=of))
    for word in words:
        assert word in page.getvalue()


def test_run_below_five_days_has_no_capture():
    page = io.StringIO()
    found = replace(results(threshold_capped=100.0, deterministic=70.0, perfect=60.0), days=4)
    _show(Console(width=240, file=page, markup=False), found)
    assert "no capture over threshold_capped: it needs a run of 5 days" in page.getvalue()


def shown(found):
    """Return what the command prints of results."""
    page = io.StringIO()
    _show(Console(width=240, file=page, markup=False), found)
    return page.getvalue()


def test_words_of_the_table_are_explained():
    """Sensitivity: stocks, backlog, late and objective were explained nowhere."""
    money = {"deterministic": {"stocks": 5.0, "backlog": 5.0}}
    text = shown(replace(results(deterministic=1.0), accounts=money))
    for word in ("objective", "stocks", "backlog", "equal work", "late"):
        assert f"\n{word}: " in text
    assert "\nfallbacks: " not in text  # there is no such row


def test_table_compares_energy_and_carbon_for_equal_work():
    """Sensitivity: a policy that left work undone seemed to save energy and carbon."""
    of = {"deterministic": summary(carbon_kg=7e6, carbon_equal_work_kg=9e6, energy_mwh=77.0)}
    text = shown(replace(results(deterministic=1.0), policies=of))
    assert "carbon, equal work [t]" in text
    assert "9,000" in text
    assert "7,000" not in text
    assert " 77 " not in text


def test_fallbacks_are_counted_and_explained():
    row = {"plant": 0, "time": "2026-06-16T02:00Z", "reason": "rule: too hot"}
    found = replace(
        results(deterministic=1.0),
        policies={"deterministic": summary(fallbacks=1)},
        fallbacks={"deterministic": [row]},
    )
    text = shown(found)
    assert "1 plan of deterministic by fallback" in text
    assert "2026-06-16T02:00Z: rule: too hot" in text
    assert "\nfallbacks: " in text


def test_interval_stands_beside_each_difference():
    """Proves: a difference inside its interval is called no gain.

    Sensitivity: a larger battery that "costs" 0.1 % by chance read like a result.
    """
    seeds = {
        "threshold_capped": [summary(value) for value in (100.0, 200.0, 300.0)],
        "deterministic": [summary(value) for value in (90.0, 189.0, 291.0)],
        "immediate": [summary(value) for value in (150.0, 180.0, 310.0)],
    }
    found = replace(
        results(threshold_capped=200.0, deterministic=190.0, immediate=213.0),
        seeds=3,
        by_seed=seeds,
    )
    text = shown(found)
    assert "less that of threshold_capped: -10 EUR, 95 % interval -12 to -8 EUR" in text
    assert "over 3 plants: lower" in text
    assert "over 3 plants: no difference shown" in text
    one_plant = shown(results(threshold_capped=200.0, deterministic=190.0))
    assert "differences of one plant have no 95 % interval" in one_plant


def test_figure_compares_the_policies(tmp_path):
    """Sensitivity: a figure per policy existed, none that compares them."""
    path = tmp_path / "compared.png"
    save_comparison(results(threshold_capped=100.0, deterministic=70.0), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [one.name for one in tmp_path.iterdir()] == ["compared.png"]
