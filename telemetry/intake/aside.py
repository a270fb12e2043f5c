"""What is taken in and not archived: kept for people whole, counted among the losses, and told."""

from pathlib import Path

from telemetry.intake.deep import Deep
from telemetry.intake.early import Early
from telemetry.intake.quarantine import Quarantine


class Aside:
    """The quarantine of whoever reads messages, and what is sound and goes there all the same.

    Parameters
    ----------
    quarantine
        Folder of the messages; None to keep none.
    lost
        Folder of the archive, where losses are written down; None to say them only.

    Attributes
    ----------
    quarantine
        Of what cannot be read, and of what comes too late.
    early
        What is stamped ahead of the clock here.
    deep
        Racks of far more chips than the others.
    """

    def __init__(self, quarantine: Path | None, lost: Path | None) -> None:
        self.quarantine = Quarantine(quarantine, lost)
        self.early, self.deep = Early(self.quarantine, lost), Deep(self.quarantine, lost)

    @property
    def trouble(self) -> str:
        """What is wrong with what sources say, and what to do about it; empty if nothing is."""
        return "; ".join(filter(None, [self.early.trouble, self.deep.trouble]))

    def tell(self) -> None:
        """Write down what is not archived, before the journal lets go of it."""
        self.early.tell()
        self.deep.tell()
