"""What countries ask of their data centres, in files of this room."""

from typing import Final

from pydantic import ValidationError

from sites.catalogue import ROOM, read, shown
from sites.faults import faults_of
from twin.duties import Duties
from twin.errors import SiteError

FOLDER: Final = ROOM / "duties"


def duties_of(time_zone: str) -> Duties | None:
    """Return the duties of sites in a time zone, None where the house knows of none.

    Parameters
    ----------
    time_zone
        IANA zone of the site.

    Raises
    ------
    SiteError
        If a file of this room has faults.
    """
    for path in sorted(FOLDER.glob("*.toml")):
        table = read(path)
        try:
            found = Duties.model_validate(table)
        except ValidationError as error:
            faults = faults_of(error, Duties, table=table, place="duties")
            raise SiteError(shown(path), faults) from error
        if time_zone in found.time_zones:
            return found
    return None
