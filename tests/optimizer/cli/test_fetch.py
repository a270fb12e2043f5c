"""`gigatwin fetch`: from a service on loopback into the file that a service of a site reads."""

import json

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from telemetry.series import read_prices
from tests.telemetry.sources.stand_in import standing_in
from tests.telemetry.sources.test_market import document, energy_charts, series


def run(*words, **variables):
    return CliRunner().invoke(app, ["fetch", "small", *map(str, words)], env=variables)


def test_prices_of_the_sites_zone_are_fetched_and_told(tmp_path):
    out = tmp_path / "prices.json"
    with standing_in({"/price": [(200, {}, json.dumps(energy_charts(96)))]}) as service:
        told = run("prices", "--out", out, "--url", service.url + "/", "--json", "-")
        assert service.asked[0][1]["bzn"] == "DE-LU"
    assert told.exit_code == 0
    assert json.loads(told.stdout) == {
        "service": "energy-charts",
        "first": "2026-03-27T23:00Z",
        "last": "2026-03-28T22:45Z",
        "intervals": 96,
        "kept": False,
    }
    assert read_prices(out).sizes["time"] == 96


def test_what_does_not_answer_ends_in_one_block_and_leaves_the_file(tmp_path):
    out = tmp_path / "prices.json"
    out.write_text("as it was")
    with standing_in({}) as service:
        told = run("prices", "--out", out, "--url", service.url)
    assert told.exit_code == 1
    assert "status 404" in told.stderr
    assert "Traceback" not in told.stderr
    assert out.read_text() == "as it was"


@pytest.mark.parametrize("token", ["", "secret"])
def test_a_token_is_taken_from_the_environment(tmp_path, token):
    answer = document(series({1: "10.0"}))
    with standing_in({"/api": [(200, {}, answer)]}) as service:
        words = ("prices", "--service", "entsoe", "--out", tmp_path / "p.xml", "--url", service.url)
        told = run(*words, GIGATWIN_ENTSOE_TOKEN=token)
        asked = [query["securityToken"] for _, query, _ in service.asked]
    assert asked == [token] * bool(token)
    assert told.exit_code == (0 if token else 1)
    assert ("set GIGATWIN_ENTSOE_TOKEN" in told.stderr) == (not token)
