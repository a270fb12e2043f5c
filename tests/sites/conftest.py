"""A sound site table to spoil, and what the loader says about it."""

import pytest

from sites import catalogue
from sites.loading import build_site
from twin.errors import SiteError


@pytest.fixture
def table():
    """Return the table of the small site, for a test to change."""
    return catalogue.read_toml(catalogue.find_site_file("small"))


@pytest.fixture
def told():
    """Return the function that gives the faults of a table, as text."""

    def faults(table):
        try:
            build_site(table, "spoilt", source="spoilt.toml")
        except SiteError as error:
            return [str(fault) for fault in error.issues]
        return []

    return faults
