"""Rules of a declared network; each is broken once, on the site that has one."""

import pytest

from sites import catalogue
from twin.errors import IssueCode


@pytest.fixture
def table():
    """Return the table of the site with a network, for a test to change."""
    return catalogue.read_toml(catalogue.find_site_file("rhine"))


def test_cable_needs_two_different_nodes(table, facts_of):
    table["network"]["cables"]["coupler_1"]["ends"] = ["section_1", "section_1"]
    location = "[network.cables.coupler_1] ends"
    assert facts_of(table) == [("inconsistent", location, '["section_1", "section_1"]')]


def test_cable_needs_nodes_of_equal_voltage(table, issues_of):
    table["network"]["cables"]["coupler_1"]["ends"] = ["connection", "section_1"]
    (issue,) = issues_of(table)
    assert issue.code is IssueCode.INCONSISTENT
    assert issue.location == "[network.cables.coupler_1] ends"
    assert "connection has 110 kV and section_1 has 20 kV" in issue.remedy


def test_coupler_may_close_a_ring(table, facts_of):
    """Proves: the load flow has meshes, so that none is a fault."""
    del table["network"]["cables"]["coupler_1"]["closes_for"]
    assert facts_of(table) == []


@pytest.mark.parametrize("source", ["section_1", "power_room_1"])
def test_source_is_on_the_high_side_of_transformers(table, issues_of, source):
    table["network"]["source"] = source
    (issue,) = issues_of(table)
    assert (issue.code, issue.location) == (IssueCode.INCONSISTENT, "[network] source")
    assert issue.found == f'"{source}"'
    assert f"{source} is on the low side of main_1" in issue.remedy


def test_exchanged_transformer_sides_are_refused(table, issues_of, facts_of):
    """Proves: exchanged high and low sides are reported at both, and not at the source too."""
    table["network"]["transformers"]["main_1"] |= {"high": "section_1", "low": "connection"}
    assert facts_of(table) == [
        ("inconsistent", "[network.transformers.main_1] high", '"section_1"'),
        ("inconsistent", "[network.transformers.main_1] low", '"connection"'),
    ]
    assert all("exchange high and low" in issue.remedy for issue in issues_of(table))


def test_transformer_needs_two_nodes(table, facts_of):
    table["network"]["transformers"]["standby"]["low"] = "connection"
    for name in (1, 2, 3, 4):
        table["network"]["cables"][f"coupler_{name}"].pop("closes_for")
    location = "[network.transformers.standby] low"
    assert facts_of(table) == [("inconsistent", location, '"connection"')]
