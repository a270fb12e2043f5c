"""Fetching from a loopback service that is busy, failing, absent, or answers wrongly."""

import contextlib
import json

import numpy as np
import pytest

from telemetry.series import providers, read_prices, read_weather
from telemetry.series.electricity import read_carbon
from telemetry.series.providers import DATA_SERVICES, SeriesQuery, fetch_series, get_text
from tests.support.data_service import standing_in
from tests.unit.telemetry.series.test_market import document, energy_charts, series
from twin.errors import SeriesError

NOW = np.datetime64("2026-03-28T12:00", "us")
BUSY = (429, {"Retry-After": "0"}, "too many")
BROKEN = (503, {}, "maintenance")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(providers, "BACKOFF_FACTOR_S", 0.01)


def reply(answer, status=200):
    return (status, {}, answer if isinstance(answer, str) else json.dumps(answer))


def query_for(service, **others):
    given = {"zone": "DE-LU", "latitude": 50.1, "longitude": 8.65, "now": NOW, "past_days": 3}
    return SeriesQuery(url=service.url, **(given | others))


def test_busy_or_failing_service_is_asked_again():
    with standing_in({"/a": [BUSY, BROKEN, reply("well")]}) as service:
        assert get_text(f"{service.url}/a", parameters={"b": "c"}) == "well"
        assert [query for _, query, _ in service.asked] == [{"b": "c"}] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((404, {}, "no data"), ["status 404: no data", "[refused]"]),
        ((401, {}, '{"message": "bad token"}'), ["status 401", "bad token", "valid token"]),
        (BUSY, ["status 429: too many", "less often"]),
        (BROKEN, ["status 503: maintenance", "[refused]"]),
    ],
)
def test_lasting_failure_shows_the_service_message(answer, expected):
    with standing_in({"/a": [answer]}) as service, pytest.raises(SeriesError) as refused:
        get_text(f"{service.url}/a", parameters={"securityToken": "secret"})
    for part in expected:
        assert part in str(refused.value)
    assert "secret" not in str(refused.value)


def test_unreachable_service_error_hides_the_token():
    with standing_in({}) as service:
        url = service.url
    with pytest.raises(SeriesError, match=r"\[unreachable\]") as refused:
        get_text(url, parameters={"securityToken": "secret"})
    assert "secret" not in str(refused.value)
    with pytest.raises(SeriesError, match=r"url = ftp://a: .*\[invalid-format\]"):
        get_text("ftp://a", parameters={})


def test_fetched_prices_are_stored_unchanged(tmp_path):
    out = tmp_path / "prices.json"
    with standing_in({"/price": [BROKEN, reply(energy_charts(188))]}) as service:
        found = fetch_series("prices", "energy-charts", query_for(service), out=out)
        _, query, _ = service.asked[-1]
    assert query == {"bzn": "DE-LU", "start": "2026-03-25", "end": "2026-03-30"}
    assert (found.interval_count, found.kept_existing_file) == (188, False)
    assert found.last_interval_start == np.datetime64("2026-03-29T21:45")
    assert read_prices(out).sizes["time"] == 188


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        reply(energy_charts(8)),  # ends earlier than the existing file
        reply(energy_charts(price=[float(n) if n < 84 else None for n in range(96)], count=96)),
        reply(energy_charts(price=[1.0, *[None] * 94, 2.0], count=96)),
        reply(energy_charts(price=[1.0, None, *[2.0] * 94], count=96)),
        (404, {}, "no data"),
        reply("<html>gone</html>"),
        reply(energy_charts(price=[None] * 8)),
    ],
)
def test_worse_answer_does_not_replace_a_file(tmp_path, answer):
    out = tmp_path / "prices.json"
    out.write_text(json.dumps(energy_charts(96)))
    before = out.read_bytes()
    with standing_in({"/price": [answer]}) as service, contextlib.suppress(SeriesError):
        assert fetch_series(
            "prices", "energy-charts", query_for(service), out=out
        ).kept_existing_file
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_unreadable_file_is_replaced(tmp_path):
    out = tmp_path / "prices.json"
    out.write_text("{")
    with standing_in({"/price": [reply(energy_charts(8))]}) as service:
        assert not fetch_series(
            "prices", "energy-charts", query_for(service), out=out
        ).kept_existing_file
    assert read_prices(out).sizes["time"] == 8


def test_entsoe_query_uses_the_zone_code(tmp_path):
    out = tmp_path / "prices.xml"
    answer = document(series({1: "10.0", 3: "30.0"}))
    with standing_in({"/api": [reply(answer)]}) as service:
        fetch_series(
            "prices",
            "entsoe",
            query_for(
                service, token="secret", zone="FR", now=np.datetime64("2026-06-01T12:00", "us")
            ),
            out=out,
        )
        _, query, _ = service.asked[0]
    assert query["in_Domain"] == query["out_Domain"] == "10YFR-RTE------C"
    assert query["documentType"] == "A44"
    assert (query["periodStart"], query["periodEnd"]) == ("202605290000", "202606030000")
    assert query["securityToken"] == "secret"
    assert read_prices(out)["electricity_price"].to_numpy().tolist() == [10.0, 10.0, 30.0, 30.0]


def test_no_data_with_status_200_is_an_error(tmp_path):
    document = "Acknowledgement_MarketDocument"
    answer = f"<{document}><Reason><text>No matching data</text></Reason></{document}>"
    with (
        standing_in({"/api": [reply(answer)]}) as service,
        pytest.raises(SeriesError, match="No matching data"),
    ):
        fetch_series("prices", "entsoe", query_for(service, token="t"), out=tmp_path / "prices.xml")


@pytest.mark.slow
def test_weather_query_has_all_needed_variables(tmp_path):
    hours = 24
    answer = {
        "latitude": 50.1,
        "longitude": 8.65,
        "elevation": 100.0,
        "utc_offset_seconds": 0,
        "hourly_units": {
            "time": "iso8601",
            "temperature_2m": "°C",
            "relative_humidity_2m": "%",
            "surface_pressure": "hPa",
            "wind_speed_10m": "km/h",
            "cloud_cover": "%",
            "shortwave_radiation": "W/m²",
        },
        "hourly": {
            "time": [f"2026-03-28T{hour:02d}:00" for hour in range(hours)],
            "temperature_2m": [10.0] * hours,
            "relative_humidity_2m": [50] * hours,
            "surface_pressure": [1000.0] * hours,
            "wind_speed_10m": [3.6] * hours,
            "cloud_cover": [0] * hours,
            "shortwave_radiation": [100.0] * hours,
        },
    }
    out = tmp_path / "weather.json"
    with standing_in({"/v1/forecast": [reply(answer)]}) as service:
        fetch_series("weather", "open-meteo", query_for(service, past_days=92), out=out)
        _, query, _ = service.asked[0]
    assert set(query["hourly"].split(",")) == set(answer["hourly"]) - {"time"}
    assert (query["latitude"], query["past_days"], query["timezone"]) == ("50.1", "92", "GMT")
    assert read_weather(out)["wind_speed"].to_numpy()[0] == pytest.approx(1.0)
    refused = reply({"error": True, "reason": "Latitude must be in range"}, status=400)
    with (
        standing_in({"/v1/forecast": [refused]}) as service,
        pytest.raises(SeriesError, match="Latitude must be"),
    ):
        fetch_series("weather", "open-meteo", query_for(service), out=out)


@pytest.mark.slow
def test_carbon_history_grows_with_each_fetch(tmp_path):
    """Proves: the service returns 24 hours; earlier hours stay, up to the days requested."""

    def answers(day, first):
        hour = f"2026-03-{day}T{{:02d}}:00:00.000Z".format
        past = [{"datetime": hour(n), "carbonIntensity": first + n} for n in range(4)]
        ahead = [{"datetime": hour(n), "carbonIntensity": 100} for n in range(4, 8)]
        return {
            "/carbon-intensity/history": [reply({"zone": "DE", "history": past})],
            "/carbon-intensity/forecast": [reply({"zone": "DE", "forecast": ahead})],
        }

    out = tmp_path / "carbon.json"
    for day, first in (("24", 200), ("27", 300), ("28", 400)):
        with standing_in(answers(day, first)) as service:
            question = query_for(service, token="secret", earlier_response_file=out)
            fetch_series("carbon", "electricity-maps", question, out=out)
            assert {headers["auth-token"] for _, _, headers in service.asked} == {"secret"}
            assert service.asked[0][1] == {"zone": "DE"}
    found = read_carbon(out, kind="lca")
    assert found["time"].to_numpy()[0] == np.datetime64("2026-03-27T00:00")
    values = found["carbon_intensity"].to_numpy()
    assert values[:4].tolist() == [300, 301, 302, 303]
    assert values[24:].tolist() == [400, 401, 402, 403, 100, 100, 100, 100]


def test_file_of_another_service_is_replaced(tmp_path):
    """Sensitivity: it was read as history, and every later fetch failed."""
    out = tmp_path / "carbon"
    out.write_text(json.dumps(energy_charts(8)))
    past = [{"datetime": "2026-03-28T00:00:00Z", "carbonIntensity": 1}]
    past.append({"datetime": "2026-03-28T01:00:00Z", "carbonIntensity": 2})
    answers = {
        "/carbon-intensity/history": [reply({"zone": "SE-SE3", "history": past})],
        "/carbon-intensity/forecast": [reply({"message": "not in your plan"}, status=403)],
    }
    with standing_in(answers) as service:
        question = query_for(service, token="secret", earlier_response_file=out, zone="SE3")
        found = fetch_series("carbon", "electricity-maps", question, out=out)
        assert service.asked[0][1] == {"zone": "SE-SE3"}
    assert found.interval_count == 2


@pytest.mark.slow
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_token_is_not_sent_to_another_host(status):
    with standing_in({"/b": [reply("mine")]}) as other:
        moved = (status, {"Location": f"{other.url}/b?token=secret"}, "")
        with (
            standing_in({"/a": [moved]}) as service,
            pytest.raises(SeriesError, match=r"status 30.*\[refused\]") as refused,
        ):
            get_text(f"{service.url}/a", parameters={}, headers={"auth-token": "secret"})
        assert other.asked == []
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "truncated",
    [
        (200, {"Content-Encoding": "gzip"}, "no gzip"),
        (200, {"Transfer-Encoding": "chunked"}, "zz"),
    ],
)
def test_truncated_answer_is_an_error(truncated):
    with (
        standing_in({"/a": [truncated]}) as service,
        pytest.raises(SeriesError, match=r"\[unreachable\]"),
    ):
        get_text(f"{service.url}/a", parameters={})


def test_too_large_answer_is_refused(monkeypatch):
    monkeypatch.setattr(providers, "MAX_RESPONSE_BYTES", 1000)
    with (
        standing_in({"/a": [reply("x" * 2000)]}) as service,
        pytest.raises(SeriesError, match=r"over 1000 bytes.*\[too-large\]"),
    ):
        get_text(f"{service.url}/a", parameters={})


def test_control_characters_are_not_shown():
    with (
        standing_in({"/a": [(404, {}, "\x1b]0;owned\x07 no data")]}) as service,
        pytest.raises(SeriesError) as refused,
    ):
        get_text(f"{service.url}/a", parameters={})
    assert "no data" in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_time_of_another_year_is_refused(tmp_path):
    far = energy_charts(2)
    far["unix_seconds"][1] += 400 * 86_400
    with standing_in({"/price": [reply(far)]}) as service, pytest.raises(SeriesError):
        fetch_series("prices", "energy-charts", query_for(service), out=tmp_path / "prices")
    assert not (tmp_path / "prices").exists()


def test_services_are_known_by_name(tmp_path):
    assert {what: next(iter(known)) for what, known in DATA_SERVICES.items()} == {
        "prices": "energy-charts",
        "weather": "open-meteo",
        "carbon": "energy-charts",
    }
    with (
        standing_in({}) as service,
        pytest.raises(SeriesError, match="did you mean energy-charts"),
    ):
        fetch_series("prices", "energy-chart", query_for(service), out=tmp_path / "prices")
