"""Tables of a file as they stand there: their entries, their names, numbers that no site has."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from sites.catalogue import Table
from sites.faults import spot, written
from twin.errors import Fault

GREATEST: Final = 1e12
"""No number of a site is greater, in whatever unit."""


def entries(table: Table, group: str, faults: list[Fault]) -> dict[str, Table]:
    """Return the inner tables of a group, and note what is none.

    Parameters
    ----------
    table
        Content of a file.
    group
        Such as ``equipment``.
    faults
        Where faults are noted.

    Returns
    -------
    dict
        Name -> table.
    """
    inner = table.get(group, {})
    if not isinstance(inner, dict):
        mend = f"write one table [{group}.<name>] for each"
        faults.append(Fault(place=group, value=written(inner), mend=mend))
        return {}
    found = {}
    for name, entry in inner.items():
        if not isinstance(entry, dict):
            mend = f"write a table [{group}.{name}]"
            faults.append(Fault(place=spot(group, name), value=written(entry), mend=mend))
        elif not name.isidentifier():
            mend = "a name has letters, digits and _ only, and begins with a letter"
            faults.append(Fault(place=spot(group, name), value="", mend=mend))
        else:
            found[name] = entry
    return found


def named(values: object, name: str, faults: list[Fault], *, place: str = "") -> Table:
    """Return a table with its name, and note a fault if it names itself.

    Parameters
    ----------
    values
        The table; what is none counts as an empty one.
    name
        Its name.
    faults
        Where the fault is noted.
    place
        Where the table stands; empty for a whole file.
    """
    table: Table = values if isinstance(values, dict) else {}
    if "name" in table:
        mend = (
            f"remove the key; the name is {name}, as the {'table' if place else 'file'} is called"
        )
        faults.append(Fault(place=spot(place, "name"), value=written(table["name"]), mend=mend))
    return table | {"name": name}


def absurd(value: object, place: str = "", key: str = "") -> Iterator[Fault]:
    """Yield a fault for each key with a number that no site can have; TOML knows inf and 10^900.

    Parameters
    ----------
    value
        A table, or what stands in one.
    place, key
        Where it stands.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from absurd(inner, f"{place}.{key}".strip("."), name)
    elif isinstance(value, list):
        found = (fault for inner in value for fault in absurd(inner, place, key))
        yield from islice(found, 1)  # a list has one key, however many numbers it has
    elif _is_absurd(value):
        mend = f"every number must be between -{GREATEST:g} and {GREATEST:g}"
        yield Fault(place=spot(place, key), value=written(value), mend=mend)


def cleaned(value: object) -> object:
    """Return a value without absurd numbers, so that the other faults can be told too.

    Parameters
    ----------
    value
        A table, or what stands in one.
    """
    if isinstance(value, dict):
        return {name: cleaned(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return None if any(map(_is_absurd, value)) else [cleaned(inner) for inner in value]
    return None if _is_absurd(value) else value


def _is_absurd(value: object) -> bool:
    return isinstance(value, int | float) and not -GREATEST < value < GREATEST
