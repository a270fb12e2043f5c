"""Altered sites: what seeds draw, and one that broke a limit."""

import pytest

import sites
from soak import altered as soak
from tests.support.altered_sites import ALTERATIONS, altered

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn():
    return [altered(seed) for seed in range(80)]


def test_drawn_sites_are_valid_and_use_every_alteration(drawn):
    done = {name for _, names in drawn for name in names}
    assert done == {one.name for one in ALTERATIONS}
    assert {site.name for site, _ in drawn} == {
        name for name in sites.site_names() if name != "small"
    }


def test_same_seed_draws_the_same_site(drawn):
    site, done = altered(7)
    assert (site, done) == drawn[7]


def test_reported_alterations_are_applied(drawn):
    for site, done in drawn:
        assert (site.grid_connection.export_limit == 0.0) == ("no export" in done)
        assert ("battery_1" in site.equipment) == ("no battery" not in done)


def test_narrow_connection_holds_at_sunset():
    """Proves: 150 MW beside 240 MW of sun, 6 MW/min. Sensitivity: 10 minutes were beyond it."""
    assert soak.violations(2) == ("", "")


def test_violated_site_is_reported_with_its_alterations(monkeypatch):
    monkeypatch.setattr(soak, "violations", lambda _: ("grid_export_power: 3", ""))
    lines = []
    figures = soak.run(1, seed=2, say=lines.append)
    assert figures["seeds_of_broken"] == [2]
    assert lines[0].startswith("seed 2 is iberia, altered: narrow connection, ramp, ")
    assert lines[1] == "seed 2: grid_export_power: 3"
