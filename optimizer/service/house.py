"""What is done between two decisions, all in turn: what fails keeps nothing else from its turn."""

from collections.abc import Callable
from threading import Event
from typing import Final

import structlog

PAUSE: Final = 0.1
"""Time between two looks at everything. [s]"""

logger = structlog.get_logger(__name__)


def keep_house(stop: Event, *turns: Callable[[], None]) -> None:
    """Do all turns again and again, until it is to stop.

    Parameters
    ----------
    stop
        Set by whoever wants the end.
    turns
        What is to be done, each by itself.
    """
    while not stop.wait(PAUSE):
        for turn in turns:
            try:
                turn()
            except Exception:
                logger.exception("housekeeping", turn=turn.__qualname__)
