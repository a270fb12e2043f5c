"""A valid site table to modify, and the issues that the loader finds in it."""

import pytest

from sites import catalogue
from sites.loading import build_site
from twin.errors import SiteError


@pytest.fixture
def table():
    """Return the table of the small site, for a test to change."""
    return catalogue.read_toml(catalogue.find_site_file("small"))


@pytest.fixture
def issues_of():
    """Return the function that returns the issues of a table."""

    def issues(table):
        try:
            build_site(table, "spoilt", source="spoilt.toml")
        except SiteError as error:
            return list(error.issues)
        return []

    return issues


@pytest.fixture
def facts_of(issues_of):
    """Return the function that returns code, location and value of each issue of a table."""

    def facts(table):
        return [(issue.code.value, issue.location, issue.found) for issue in issues_of(table)]

    return facts
