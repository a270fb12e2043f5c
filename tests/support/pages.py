"""Pages of the docs whose tables are written by code."""

import re


def filled(page, table, names):
    """Return a page with the tables of some names between their marks."""
    for name in names:
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = marks.sub(lambda found, name=name: f"{found[1]}{table(name)}\n{found[2]}", page)
    return page
