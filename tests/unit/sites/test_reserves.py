"""Reserves in site files: the documented example, and issues."""

import re
import tomllib

import pytest

import sites
from sites import catalogue
from sites.loading import build_site
from twin.errors import SiteError

DOCS = catalogue.SITES_DIR.parent / "docs" / "how-to/planners/reserves.md"


def example():
    """Return the tables of the example in the docs."""
    block = re.search(r"```toml\n(\[reserves\.fcr\].*?)```", DOCS.read_text(), re.DOTALL)
    return tomllib.loads(block[1])["reserves"]


def declared(change=lambda _: None):
    """Return the table of the small site with the example's reserves, changed."""
    table = catalogue.read_toml(catalogue.SITES_DIR / "small.toml")
    table["reserves"] = example()
    table["equipment"]["battery_1"]["local_controller"] = True
    table["work"]["batch"]["pause_time"] = "5 min"
    change(table)
    return table


def faults(change):
    with pytest.raises(SiteError) as caught:
        build_site(declared(change), "small", source="small.toml")
    return str(caught.value)


def test_documented_example_is_valid():
    site = build_site(declared(), "small", source="small.toml")
    assert list(site.reserves) == ["fcr", "fcr_d_up", "mfrr"]
    assert site.reserves["mfrr"].full_activation == 12.5
    assert sites.load_site("small").reserves == {}


def put(table, value, *path):
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value


TSO = ("equipment", "tso_1")
CALLS = {"kind": "load_target", "up_price": "500 EUR/MWh", "activates": ["mfrr"]}


def test_contract_may_activate_an_ordered_product():
    found = build_site(
        declared(lambda table: put(table, CALLS, *TSO)), "small", source="small.toml"
    )
    assert found.equipment["tso_1"].activates == ("mfrr",)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("reserves", "fcr", "duration"), "15 MW", "[reserves.fcr] duration"),
        (("reserves", "fcr", "durration"), "15 min", "did you mean duration?"),
        (("reserves", "fcr", "block"), "7 h", "block must divide 24 h without a remainder"),
        (("reserves", "fcr", "direction"), "both", "direction"),
        (("reserves", "fcr", "valid_from"), "soon", "valid_from"),
        (("reserves", "fcr", "name"), "x", "the name of the table is fcr"),
        (("reserves", "fcr"), 3, "write a table [reserves.fcr]"),
        (("reserves",), 3, "write one table [reserves.<name>] for each"),
        (
            ("equipment", "battery_1", "local_controller"),
            False,
            "set local_controller = true in a battery",
        ),
        (("work", "training", "pause_time"), "5 min", "remove pause_time"),
        (("work", "batch", "pause_loss"), "1.5 h", "would delay 2.5 h of work"),
        (TSO, CALLS | {"activates": ["afrr"]}, "one of the site's products: fcr, fcr_d_up"),
        (TSO, CALLS | {"activates": ["fcr"]}, "an upward product that needs no controller"),
        (TSO, CALLS | {"activates": "mfrr"}, "activates"),
        (TSO, CALLS | {"effect": "curtailment"}, '"priced" or "hard", because'),
    ],
)
def test_invalid_reserves_are_refused(path, value, words):
    assert words in faults(lambda table: put(table, value, *path))
