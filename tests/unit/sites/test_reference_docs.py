"""The committed reference pages are up to date."""

import pytest

import sites
from sites import catalogue

FOLDER = catalogue.SITES_DIR.parent / "docs" / "reference"


@pytest.mark.parametrize("page", sorted(sites.reference_pages()))
def test_committed_page_is_up_to_date(page):
    written = (FOLDER / page).read_text(encoding="utf-8")
    assert written == sites.reference_pages()[page], "run `./dev gigatwin sites reference`"


def test_parameter_has_unit_bounds_and_meaning():
    row = "| `rating` | MW |  | > 0 | rated output of the whole bank |"
    assert row in sites.reference_pages()["equipment.md"]


def test_citations_are_listed_below_their_table():
    """Proves: the [2] of the halls' heat is Khankari's; tables that cite nothing say none.

    Sensitivity: a number in brackets that leads nowhere.
    """
    page = sites.reference_pages()["equipment.md"]
    table = page.split("### `resilience_settings`")[1].split("### ")[0]
    assert '- [2] K. Khankari, "Rate of heating analysis of data centers during power' in table
    assert page.count("\n- [") == 3


def test_units_are_written_as_site_files_write_them():
    """Proves: a price of energy is shown in EUR/MWh, a flow in kg/s, none with a power of -1."""
    page = sites.reference_pages()["equipment.md"]
    assert "| `import_fee` | EUR/MWh |" in page
    assert "| `air_flow` | kg/s |" in page
    assert "-1 |" not in page


def test_every_parameter_has_a_meaning():
    """Proves: texts and lists have a meaning as quantities have; curves of chillers have sources.

    Sensitivity: of `time_zone`, `daily_shape` and `hours` the page said "text" and "list".
    """
    page = sites.reference_pages()["equipment.md"]
    bare = {
        line.split("|")[1].strip()
        for line in page.splitlines()
        if line.rstrip(" |").endswith(("| text", "| date", "| list of numbers", "| list of names"))
    }
    assert bare == {"`capacity_curve`", "`eir_temperature_curve`", "`eir_part_load_curve`"}
