"""What a declared network must keep: each rule broken once, on the site that has one."""

import pytest

from sites import catalogue


@pytest.fixture
def table():
    """Return the table of the site with a network, for a test to change."""
    return catalogue.read_toml(catalogue.find_site_file("rhine"))


def test_a_cable_leads_from_one_node_to_another(table, told):
    table["network"]["cables"]["coupler_1"]["ends"] = ["section_1", "section_1"]
    assert told(table) == [
        '[network.cables.coupler_1] ends = ["section_1", "section_1"]: '
        "a cable leads from one node to another; name two nodes"
    ]


def test_a_cable_joins_nodes_of_one_voltage(table, told):
    table["network"]["cables"]["coupler_1"]["ends"] = ["connection", "section_1"]
    assert told(table) == [
        '[network.cables.coupler_1] ends = ["connection", "section_1"]: a cable joins nodes of one '
        "voltage, but connection has 110 kV and section_1 has 20 kV; correct an end or a voltage, "
        "or use a transformer"
    ]


def test_a_coupler_may_close_a_ring(table, told):
    """Proves: the load flow has meshes, so that none is a fault."""
    del table["network"]["cables"]["coupler_1"]["closes_for"]
    assert told(table) == []


@pytest.mark.parametrize("source", ["section_1", "power_room_1"])
def test_the_source_stands_before_the_transformers(table, told, source):
    table["network"]["source"] = source
    assert told(table) == [
        f'[network] source = "{source}": {source} has 20 kV and stands on the low side of main_1; '
        "the connection feeds the high sides: connection"
    ]


def test_a_transformer_stands_as_its_windings_do(table, told):
    """Proves: high and low exchanged is told of both, and not of the source too."""
    table["network"]["transformers"]["main_1"] |= {"high": "section_1", "low": "connection"}
    remedy = "are high and low exchanged? name the node of that side, or correct a voltage"
    assert told(table) == [
        '[network.transformers.main_1] high = "section_1": section_1 has 20 kV, but high_voltage '
        f"is 110 kV; {remedy}",
        '[network.transformers.main_1] low = "connection": connection has 110 kV, but low_voltage '
        f"is 20.6 kV; {remedy}",
    ]


def test_a_transformer_has_two_nodes(table, told):
    table["network"]["transformers"]["standby"]["low"] = "connection"
    for name in (1, 2, 3, 4):
        table["network"]["cables"][f"coupler_{name}"].pop("closes_for")
    assert told(table) == [
        '[network.transformers.standby] low = "connection": a transformer leads from one node to '
        "another; name another one here"
    ]
