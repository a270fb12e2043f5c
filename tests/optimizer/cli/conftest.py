"""What tests of the command line share."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def own_logs():
    """Take the logs back from the command line, whose streams end with it."""
    yield
    structlog.reset_defaults()
