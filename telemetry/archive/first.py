"""The first commit of a repository, which holds nothing and stays for ever."""

import shutil
import tempfile
from pathlib import Path

import icechunk

SNAPSHOTS = "snapshots"
"""Folder of a repository where what each commit consists of stands."""


def renew(folder: Path) -> None:
    """Write the first commit of a repository anew, as that of an empty one: all are alike.

    What belongs to no commit is found by a walk through all commits that are left, and the first is
    always among them: once it is spoilt, nothing would ever be forgotten again.

    Parameters
    ----------
    folder
        Of the repository, on a local disk.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        icechunk.Repository.create(icechunk.local_filesystem_storage(scratch))
        for sound in (Path(scratch) / SNAPSHOTS).iterdir():
            if (spoilt := folder / SNAPSHOTS / sound.name).exists():
                shutil.move(sound, spoilt)
