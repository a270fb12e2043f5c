"""`gigatwin fetch`: from a service on loopback into the file that a service of a site reads."""

import json

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from telemetry.series import read_prices
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
