"""What a journal had to set aside, in words: what it was, what is lost with it, what to do."""

from pathlib import Path

from telemetry.journaling.frames import Position, Repair


def is_harmless(repair: Repair, archived: Position | None) -> bool:
    """Return whether all that was set aside is in the archive.

    Parameters
    ----------
    repair
        What was set aside, or is gone.
    archived
        Up to where the journal was archived when that was found; None if nothing was.
    """
    end = Position(repair.position.segment, repair.position.offset + repair.size)
    return repair.aside is not None and archived is not None and end <= archived


def words(repair: Repair, folder: Path, archived: Position | None) -> str:
    """Return what happened to a journal, what it means, and what to do; see :func:`is_harmless`."""
    segment, offset = repair.position.segment, repair.position.offset
    place = f"the journal {folder} is damaged: of segment {segment:012d}"
    size = f"{repair.size:,} B from byte {offset} on"
    if repair.aside is None:  # and perhaps more, that nobody had read
        end = "up to where it was read once"
        return f"{place} {size}, {end}, are gone: was an older copy put back? see to the disk"
    what = f"{place} {size} cannot be read and are kept as {repair.aside.name}"
    if is_harmless(repair, archived):
        return f"{what}; all that they held is in the archive; see to the disk"
    lost = "what of it was not archived yet is lost, unless its sender holds it and sends it again"
    return f"{what}; {lost}; see to the disk"
