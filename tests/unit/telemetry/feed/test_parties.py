"""Parties of the feed: their codes and roles, and the names of their documents."""

import pytest

from telemetry import market_zones
from telemetry.feed.partners import document_series, market_party
from twin.errors import IssueCode, MessageError


@pytest.mark.parametrize(
    ("code", "role", "issue"),
    [
        ("10YFR-RTE------X", "A04", IssueCode.INVALID_FORMAT),
        ("10YFR-RTE------C", "A27", IssueCode.UNKNOWN_NAME),
    ],
)
def test_a_party_is_checked(code, role, issue):
    with pytest.raises(MessageError) as error:
        market_party(code, "somebody", role)
    assert error.value.code is issue
    assert market_party("10YFR-RTE------C", "RTE", "A04")["role"]["text"] == "System operator"


def test_document_series_have_999_revisions():
    assert document_series("rhine", "tso-1", 999) == "rhine.tso-1.0"
    assert document_series("rhine", "tso-1", 1000) == "rhine.tso-1.1"
    with pytest.raises(MessageError, match="shorten"):
        document_series("a" * 20, "b" * 20, 1)


def test_codes_have_valid_check_characters():
    assert market_zones.eic_check_character("10Y1001A1001A82") == "H"
    wrong = [
        code for code in market_zones.EIC_BY_ZONE.values() if not market_zones.is_valid_eic(code)
    ]
    assert wrong == []
    assert not market_zones.is_valid_eic("10Y1001A1001A82X")
    assert not market_zones.is_valid_eic("10y1001a1001a82h")
    assert not market_zones.is_valid_eic("")


@pytest.mark.parametrize("kind", ["X", "Z"])
@pytest.mark.parametrize(
    "name", ["rhine", "iberia", "gallia", "baltica", "small", "tso-1", "", "ü"]
)
def test_demonstration_codes_are_valid_and_say_so(name, kind):
    code = market_zones.demonstration_eic(name, kind)
    assert market_zones.is_valid_eic(code)
    assert code.startswith(f"00{kind}DEMO-")


def test_a_zone_without_a_code_says_so():
    """Proves: a site in North America has a feed too. Sensitivity: it was refused at the start."""
    assert market_zones.eic_of_zone("de_lu") == "10Y1001A1001A82H"
    assert market_zones.is_valid_eic(market_zones.eic_of_zone("US-TVA"))
    assert market_zones.eic_of_zone("US-TVA").startswith("00YDEMO-USTVA")
