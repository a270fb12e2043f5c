"""The committed reference pages are what the code writes."""

import pytest

import sites
from sites import catalogue

FOLDER = catalogue.ROOM.parent / "docs" / "reference"


@pytest.mark.parametrize("page", sorted(sites.pages()))
def test_the_committed_page_is_what_the_code_writes(page):
    written = (FOLDER / page).read_text(encoding="utf-8")
    assert written == sites.pages()[page], "run `./dev gigatwin sites reference`"


def test_a_parameter_has_unit_bounds_and_meaning():
    row = "| `rating` | MW |  | > 0 | rated output of the whole bank |"
    assert row in sites.pages()["equipment.md"]
