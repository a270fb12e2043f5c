"""Contracts of a site file: valid ones, and combinations that are refused."""

import pytest

from sites.loading import build_site

TSO = {"kind": "load_target", "partner": "tso-1", "up_price": "500 EUR/MWh"}
PPA = {"kind": "hourly_matching", "residual_intensity": "600 kg/MWh"}
ALL = {
    "market": {"kind": "day_ahead", "intraday_limit": "1 MW"},
    "tso_1": TSO | {"effect": "curtailment", "least": "2 MW"},
    "cap": {"kind": "carbon_budget", "amount": "9000 t", "price": "0.2 EUR/kg", "window": "day"},
    "well": {"kind": "water_budget", "amount": "20000 m3", "price": "5 EUR/m3"},
    "ppa": PPA | {"band_power": "1.5 MW"},
}


def with_contracts(table, contracts, *, carbon="average"):
    table["equipment"] |= contracts
    table["equipment"]["grid_1"]["carbon"] = carbon
    return table


def test_all_contracts_can_be_combined(table):
    found = build_site(with_contracts(table, ALL, carbon="matched"), "mine", source="mine.toml")
    assert found.equipment["cap"].amount == pytest.approx(9e6)  # kg
    assert found.equipment["tso_1"].issuer == "tso-1"
    assert [one.owner for one in found.obligations] == ["market", "cap", "well", "ppa"]


@pytest.mark.parametrize(
    ("contracts", "carbon", "fault"),
    [
        ({"ppa": PPA}, "average", '[equipment.grid_1] carbon = "average"'),
        ({}, "matched", '[equipment.grid_1] carbon = "matched"'),
        (
            {"a": {"kind": "day_ahead"}, "b": {"kind": "day_ahead"}},
            "average",
            "[equipment.b] kind",
        ),
        ({"a": TSO, "b": TSO}, "average", '[equipment.b] partner = "tso-1"'),
        ({"a": TSO | {"least": "4.8 MW"}}, "average", "[equipment.a] least = 4.8 MW"),
        ({"a": TSO | {"up_price": "1e9 EUR/MWh"}}, "average", "[equipment.a] up_price"),
        ({"a": TSO | {"effect": "gentle"}}, "average", "[equipment.a] effect"),
        ({"a": {"kind": "load_target"}}, "average", "[equipment.a] up_price"),
        (
            {"a": {"kind": "carbon_budget", "amount": "-1 t", "price": "1 EUR/kg"}},
            "average",
            "[equ",
        ),
    ],
)
def test_invalid_contracts_are_refused_with_location(table, issues_of, contracts, carbon, fault):
    found = issues_of(with_contracts(table, contracts, carbon=carbon))
    assert len(found) == 1
    assert str(found[0]).startswith(fault)
