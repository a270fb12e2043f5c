"""Unchanged answers of price and carbon services."""

import json

import numpy as np
import pytest

from telemetry.series import read_prices
from telemetry.series.bundle import recognise_series_kind
from telemetry.series.electricity import read_carbon
from telemetry.series.provider_formats import entsoe_area
from twin.errors import SeriesError

MIDNIGHT = 1_774_652_400  # 2026-03-28T00:00+01:00: the day before clocks go forward


def written(tmp_path, answer, name="answer"):
    path = tmp_path / name
    path.write_text(answer if isinstance(answer, str) else json.dumps(answer))
    return path


def energy_charts(count=8, unit="EUR / MWh", **others):
    answer = {
        "license_info": "CC BY 4.0",
        "unix_seconds": [MIDNIGHT + 900 * number for number in range(count)],
        "price": [float(number) for number in range(count)],
        "unit": unit,
        "deprecated": False,
    }
    return answer | others


def document(*series):
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<Publication_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-3:'
        'publicationdocument:7:3">' + "".join(series) + "</Publication_MarketDocument>"
    )


def series(
    points, *, sequence=None, curve="A03", resolution="PT60M", day="2026-06-01", money="EUR"
):
    """Return a series of four hours from 22:00 UTC of a day."""
    rows = "".join(
        f"<Point><position>{p}</position><price.amount>{v}</price.amount></Point>"
        for p, v in points.items()
    )
    number = "classificationSequence_AttributeInstanceComponent.position"
    following = np.datetime64(day) + np.timedelta64(1, "D")
    return (
        f"<TimeSeries><currency_Unit.name>{money}</currency_Unit.name>"
        "<price_Measure_Unit.name>MWH</price_Measure_Unit.name>"
        + (f"<{number}>{sequence}</{number}>" if sequence else "")
        + f"<curveType>{curve}</curveType><Period><timeInterval><start>{day}T22:00Z</start>"
        f"<end>{following}T02:00Z</end></timeInterval><resolution>{resolution}</resolution>{rows}"
        "</Period></TimeSeries>"
    )


def test_energy_charts_prices_cross_clock_changes(tmp_path):
    """Proves: 192 - 4 quarter-hours of two local days are one series in UTC; a null is a gap."""
    answer = energy_charts(188)
    answer["price"][5] = None
    found = read_prices(written(tmp_path, answer))
    assert found.sizes["time"] == 188
    assert found["time"].to_numpy()[0] == np.datetime64("2026-03-27T23:00")
    assert found["time"].to_numpy()[-1] == np.datetime64("2026-03-29T21:45")
    assert found["electricity_price"].to_numpy()[[4, 6]].tolist() == [4.0, 6.0]
    assert found.attrs["gaps"] == ["2026-03-28T00:15Z/2026-03-28T00:30Z"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"price": None, "unix_seconds": None}, ["prices = none", "[missing]"]),
        ({"price": [None] * 8}, ["prices = none"]),
        ({"price": [1.0]}, ["1 entries", "8 entries", "[inconsistent]"]),
        ({"unit": "GBP / MWh"}, ["GBP", "convert it to EUR/MWh"]),
        ({"unix_seconds": ["noon"]}, ["unix_seconds.0", "'noon'"]),
    ],
)
def test_answer_without_prices_is_refused(tmp_path, change, expected):
    with pytest.raises(SeriesError) as refused:
        read_prices(written(tmp_path, energy_charts(**change)))
    for part in expected:
        assert part in str(refused.value)


def test_error_answer_shows_the_service_message(tmp_path):
    with pytest.raises(SeriesError, match="no such zone"):
        read_prices(written(tmp_path, {"detail": "no such zone"}))
    with pytest.raises(SeriesError, match="row 1"):
        read_prices(written(tmp_path, '{"unix_seconds": [1, 2'))


def test_carbon_is_weighted_by_generation(tmp_path):
    """Proves: (2 x 490 + 1 x 11)/3; load and pumping are not generation.

    If a generation that exists elsewhere is null, the hour is a gap, not all solar.
    """
    kinds = {
        "Load": [9.0, 9.0, 9.0, 9.0],
        "Fossil gas": [2.0, 2.0, 0.0, None],
        "Wind onshore": [1.0, 0.0, 1.0, 1.0],
        "Solar": [-0.1, 0.0, 0.0, 0.0],
        "Nuclear": [None, None, None, None],
    }
    answer = {
        "unix_seconds": [MIDNIGHT + 3600 * number for number in range(4)],
        "production_types": [{"name": name, "data": data} for name, data in kinds.items()],
        "deprecated": False,
    }
    path = written(tmp_path, answer)
    found = read_carbon(path, kind="lca")
    means = found["carbon_intensity"].to_numpy().tolist()
    assert means[:3] == pytest.approx([991.0 / 3.0, 490.0, 11.0], abs=0.01)
    assert found.attrs["gaps"] == ["2026-03-28T02:00Z/2026-03-28T03:00Z"]
    assert recognise_series_kind(path) == "carbon"
    with pytest.raises(SeriesError, match=r"carbon kind = direct: lca;.*\[missing\]"):
        read_carbon(path, kind="direct")


def test_history_and_forecast_become_one_series(tmp_path):
    def hour(number, value, **others):
        return {
            "datetime": f"2026-02-01T{number:02d}:00:00.000Z",
            "carbonIntensity": value,
        } | others

    past = [hour(n, 300 + n, emissionFactorType="direct", isEstimated=n > 1) for n in range(4)]
    answer = {"zone": "DE", "history": past, "forecast": [hour(n, 200) for n in range(3, 6)]}
    found = read_carbon(written(tmp_path, answer), zone="DE-LU")
    assert found["carbon_intensity"].to_numpy().tolist() == [300, 301, 302, 200, 200, 200]
    mixed = {**answer, "history": [*past[:1], hour(1, 9, emissionFactorType="lifecycle")]}
    with pytest.raises(SeriesError, match="direct, lifecycle"):
        read_carbon(written(tmp_path, mixed))
    with pytest.raises(SeriesError, match="none"):
        read_carbon(written(tmp_path, {"zone": "DE", "history": []}))


def test_omitted_points_of_curve_a03_repeat_the_last(tmp_path):
    """Proves: positions 1 and 3 of four hours are 10, 10, 30, 30 in curve A03."""
    path = written(tmp_path, document(series({1: "10.0", 3: "30.0"})))
    found = read_prices(path)
    assert found["electricity_price"].to_numpy().tolist() == [10.0, 10.0, 30.0, 30.0]
    assert found["time"].to_numpy()[0] == np.datetime64("2026-06-01T22:00")
    assert recognise_series_kind(path) == "prices"


def test_omitted_points_of_other_curves_are_gaps(tmp_path):
    points = {number: f"{number}" for number in (1, 2, 4)}
    found = read_prices(written(tmp_path, document(series(points, curve="A01"))))
    assert found.attrs["gaps"] == ["2026-06-02T00:00Z/2026-06-02T01:00Z"]


def test_coupled_auction_precedes_others(tmp_path):
    """Proves: sequence 2 of DE-LU, the EXAA auction of 10:15, is used only if it is alone."""
    both = document(series({1: "9"}, sequence=2), series({1: "7"}, sequence=1))
    assert set(read_prices(written(tmp_path, both))["electricity_price"].to_numpy()) == {7.0}
    alone = document(series({1: "9"}, sequence=2))
    assert set(read_prices(written(tmp_path, alone))["electricity_price"].to_numpy()) == {9.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a><Reason><code>999</code><text>No matching data found</text></Reason></a>", "No match"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", r"= <!DOCTYPE: .*\[invalid-format\]"),
        ("<a><TimeSeries>", r"\[invalid-format\]"),
        (document(series({1: "1"}, money="EUR"), series({1: "1"}, money="PLN")), "one currency"),
        (document(series({1: "1"}, money="PLN")), "convert it to EUR/MWh"),
        (document(series({1: "1"}, resolution="P1M")), "resolution"),
        (document(series({"x": "1"})), "positions"),
        (document(series({1: "dear"})), "dear"),
    ],
)
def test_entsoe_answer_without_prices_is_refused(tmp_path, text, expected):
    with pytest.raises(SeriesError, match=expected):
        read_prices(written(tmp_path, text))


def test_real_entsoe_answer_is_read(shared):
    """The first two prices of sequence 1, which comes second in the file."""
    found = read_prices(shared / "contracts/entsoe_A44_sample.xml")
    assert found.sizes["time"] == 192
    assert found["electricity_price"].to_numpy()[:2].tolist() == [100.41, 101.91]
    assert found.attrs["gaps"] == []


def test_zone_without_a_code_is_refused():
    assert entsoe_area("de_lu") == "10Y1001A1001A82H"
    with pytest.raises(SeriesError, match=r"zone = US-CAL: .*AT, BE.*\[unknown-name\]"):
        entsoe_area("US-CAL")
