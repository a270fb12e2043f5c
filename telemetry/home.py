"""Where the state of a service lies: journal, archive, orders and record of a site."""

import os
from pathlib import Path

from twin.errors import Fault, ServiceError


def state_folder(site: str) -> Path:
    """Return where the state of a site's service lies unless its user says otherwise.

    Raises
    ------
    ServiceError
        If its user has no home, as in a container.
    """
    if told := os.environ.get("GIGATWIN_STATE"):
        return Path(told)
    try:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError as error:
        mend = "this user has no home; name the state folder with --state or GIGATWIN_STATE"
        raise ServiceError("state", [Fault(place="home", value="", mend=mend)]) from error
    return Path(home) / "gigatwin" / site
