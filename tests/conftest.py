"""What tests of every room share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real series, beside the clone or where GIGATWIN_SHARED says."""
    folder = Path(os.environ.get("GIGATWIN_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(
            "no real series: lay them in ../shared, or name their folder in GIGATWIN_SHARED"
        )
    return folder
