"""Each module constant has one home; the page of timeouts and limits is what the modules declare.

Run as a program (``python -m tests.architecture.test_constants``) it writes the page.
"""

import ast
import datetime
import importlib
import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from tests.architecture.conftest import PACKAGES, ROOT, every_module

PAGE = ROOT / "docs" / "reference" / "constants.md"
HEAD = """# Timeouts, periods, sizes and limits

<!-- Written by `python -m tests.architecture.test_constants`; change the declarations only. -->

Every timeout, delay, period, interval, batch size, queue depth and limit that a module declares.
Each is declared once; a change needs a release. What a site can set is in
[equipment](equipment.md).
"""
PUBLISHED = re.compile(
    r"(^|_)(TIMEOUT|DELAY|PERIODS?|INTERVALS?|BATCH|RETRY|QUEUE|DEADLINE|WAIT)(_|$)"
    r"|(?<!_M)(?<!KG)(?<!PER)_(S|MS|BYTES)$|^_?MAX_"
)
UNITS = {
    "S": "s", "MS": "ms", "US": "us", "MIN": "min", "H": "h", "BYTES": "B", "MW": "MW", "W": "W",
    "K": "K", "C": "degC", "DAYS": "d", "KM": "km", "MM": "mm", "DEG": "degrees",
}  # fmt: skip
COUNT = "1"


@dataclass(frozen=True, kw_only=True)
class Constant:
    """One module constant as its module declares it."""

    name: str
    module: str
    meaning: str

    @property
    def room(self):
        return self.module.partition(".")[0]

    @property
    def value(self):
        return getattr(importlib.import_module(self.module), self.name)


def constants(module):
    """Yield the upper-case names that a module assigns, with the text below or behind each."""
    body, lines = module.tree.body, module.text.splitlines()
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        comment = lines[node.end_lineno - 1].partition("  # ")[2]
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper():
                yield Constant(
                    name=target.id,
                    module=module.name,
                    meaning=" ".join(str(after.value.value).split()) if is_text else comment,
                )


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_span(value):
    return isinstance(value, np.timedelta64 | datetime.timedelta)


def is_published(constant):
    found = PUBLISHED.search(constant.name) is not None
    return found and (is_number(constant.value) or is_span(constant.value))


def split_meaning(meaning):
    """Return the first sentence and the unit in brackets at the end of a text."""
    unit = re.search(r"\s*\[([^\]]+)\]$", meaning)
    text = meaning[: unit.start()] if unit else meaning
    return re.split(r"(?<=\.)\s", text)[0].rstrip("."), unit and unit[1]


def amount(constant):
    """Return a value with its unit; the unit is in the text or at the end of the name."""
    value = constant.value
    if is_span(value):
        return span(np.timedelta64(value))
    unit = split_meaning(constant.meaning)[1] or UNITS.get(constant.name.rpartition("_")[2], COUNT)
    if unit.lower() in {"b", "bytes"}:
        return size(value)
    number = f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"
    return number if unit == COUNT else f"{number} {unit}"


def span(value):
    for unit, text in (("D", "d"), ("h", "h"), ("m", "min"), ("s", "s"), ("ms", "ms")):
        count = value / np.timedelta64(1, unit)
        if count == round(count):
            return f"{round(count):,} {text}"
    return f"{value / np.timedelta64(1, 'us'):g} us"


def size(value):
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if value >= 1024**power and value % 1024**power == 0:
            return f"{int(value) // 1024**power:,} {unit}"
    return f"{value:,} B"


def page():
    """Return the page of the numbers whose names tell a time, a size or a limit."""
    parts, found = [HEAD], [one for module in every_module().values() for one in constants(module)]
    for room in PACKAGES:
        rows = [
            f"| `{one.name}` | {amount(one)} | {split_meaning(one.meaning)[0]} | `{one.module}` |"
            for one in sorted(found, key=lambda one: (one.module, one.name))
            if one.room == room and is_published(one)
        ]
        head = ["| constant | value | meaning | module |", "|---|---|---|---|"]
        parts += [f"## {room}\n", "\n".join([*head, *rows]) + "\n"]
    return "\n".join(parts)


def test_each_constant_has_one_home(modules):
    """Proves: a name has one value; a leading underscore makes no other name of it."""
    homes = defaultdict(list)
    for module in modules.values():
        for one in constants(module):
            homes[one.name.lstrip("_")].append(module.place)
    assert len(homes) > 1000
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_published_constants_have_a_meaning(modules):
    found = [one for module in modules.values() for one in constants(module)]
    published = [one for one in found if is_published(one)]
    assert len(published) > 200
    assert [f"{one.module}.{one.name}" for one in published if not one.meaning] == []


def test_page_of_constants_is_current():
    assert PAGE.read_text() == page(), "run `python -m tests.architecture.test_constants`"


if __name__ == "__main__":
    PAGE.write_text(page())
