"""`gigatwin fetch`: from a service on loopback into the file that a service of a site reads."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from telemetry.series import read_prices, read_weather
from telemetry.series.providers import OPEN_METEO_VARIABLES
from tests.support.data_service import standing_in
from tests.unit.telemetry.series.test_market import document, energy_charts, series


def run(*words, **variables):
    return CliRunner().invoke(app, ["fetch", "small", *map(str, words)], env=variables)


def test_prices_of_the_bidding_zone_are_fetched(tmp_path):
    out = tmp_path / "prices.json"
    with standing_in({"/price": [(200, {}, json.dumps(energy_charts(96)))]}) as service:
        result = run("prices", "--out", out, "--url", service.url + "/", "--json", "-")
        assert service.asked[0][1]["bzn"] == "DE-LU"
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "service": "energy-charts",
        "first": "2026-03-27T23:00Z",
        "last": "2026-03-28T22:45Z",
        "intervals": 96,
        "kept": False,
    }
    assert read_prices(out).sizes["time"] == 96


def test_failed_request_is_one_error_and_keeps_the_file(tmp_path):
    out = tmp_path / "prices.json"
    out.write_text("as it was")
    with standing_in({}) as service:
        result = run("prices", "--out", out, "--url", service.url)
    assert result.exit_code == 1
    assert "status 404" in result.stderr
    assert "Traceback" not in result.stderr
    assert out.read_text() == "as it was"


@pytest.mark.parametrize("token", ["", "secret"])
def test_token_is_read_from_the_environment(tmp_path, token):
    answer = document(series({1: "10.0"}))
    with standing_in({"/api": [(200, {}, answer)]}) as service:
        words = ("prices", "--service", "entsoe", "--out", tmp_path / "p.xml", "--url", service.url)
        result = run(*words, GIGATWIN_ENTSOE_TOKEN=token)
        asked = [query["securityToken"] for _, query, _ in service.asked]
    assert asked == [token] * bool(token)
    assert result.exit_code == (0 if token else 1)
    assert ("set GIGATWIN_ENTSOE_TOKEN" in result.stderr) == (not token)


def weather(first, hours):
    """Return an answer of Open-Meteo from a moment on."""
    units = dict(zip(OPEN_METEO_VARIABLES, ("°C", "%", "hPa", "km/h", "%", "W/m²"), strict=True))
    times = [first + timedelta(hours=hour) for hour in range(hours)]
    values = {name: [900.0 if name == "surface_pressure" else 20.0] * hours for name in units}
    return {
        "latitude": 50.1,
        "longitude": 8.65,
        "utc_offset_seconds": 0,
        "hourly_units": {"time": "iso8601", **units},
        "hourly": {"time": [f"{time:%Y-%m-%dT%H:%M}" for time in times], **values},
    }


def midnight():
    """Return the begin of today, UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def answers_of_all(today, *, days):
    """Return the answers of all services, for some days before a day and for that day."""
    begin = today - timedelta(days=days)
    seconds = [int(begin.timestamp()) + 3600 * hour for hour in range(24 * days + 24)]
    energy = {"name": "Fossil gas", "data": [3000.0] * len(seconds)}
    found = {
        "/price": {"unix_seconds": seconds, "price": [50.0] * len(seconds), "unit": "EUR / MWh"},
        "/public_power": {"unix_seconds": seconds, "production_types": [energy]},
        "/v1/forecast": weather(today - timedelta(days=92), 24 * 102),
        "/v1/archive": weather(begin, 24 * (days - 91)),
    }
    return {path: [(200, {}, json.dumps(answer))] for path, answer in found.items()}


def test_all_fetches_three_files_and_names_the_back_test(tmp_path):
    """Proves: weather before the forecast's 92 past days comes from the archive, each hour once."""
    folder, today = tmp_path / "series", midnight()
    with standing_in(answers_of_all(today, days=100)) as service:
        result = run("all", "--out", folder, "--days", 100, "--url", service.url)
    assert result.exit_code == 0, result.stderr
    hours = read_weather(folder / "weather").indexes["time"]
    assert len(hours) >= 24 * 109
    assert (hours[1:] - hours[:-1] == timedelta(hours=1)).all()
    command = result.stdout.rpartition("Next: ")[2]
    assert f"--weather {folder / 'weather'}" in command
    assert f"--start {(today - timedelta(days=85)).date()} --days 85" in command


def test_all_keeps_what_came_when_one_service_fails(tmp_path):
    answers = answers_of_all(midnight(), days=3)
    del answers["/public_power"]
    with standing_in(answers) as service:
        result = run("all", "--out", tmp_path, "--days", 3, "--url", service.url)
    assert result.exit_code == 1
    assert "status 404" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prices", "weather"]


@pytest.mark.parametrize(
    ("words", "option"), [(["prices"], "--out"), (["all", "--service", "entsoe"], "--service")]
)
def test_missing_file_and_service_of_all_are_errors(words, option):
    result = run(*words)
    assert result.exit_code == 1
    assert option in result.stderr
