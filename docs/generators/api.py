"""Pages of the public names of the four packages, from their docstrings."""

import inspect
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from typing import Any

from docs.generators.examples import uses as examples
from docs.generators.markdown import table, toctree

FOLDER = "reference/api"

PACKAGES = ("twin", "sites", "telemetry", "optimizer")


def public_names() -> Iterator[tuple[str, Any]]:
    """Yield the full name and the object of each public name; a public module gives its names."""
    for package in PACKAGES:
        yield from _names(package)


def _names(package: str) -> Iterator[tuple[str, Any]]:
    module = import_module(package)
    for name in sorted(module.__all__, key=str.lower):
        one = getattr(module, name)
        if inspect.ismodule(one):
            yield from _names(one.__name__)
        else:
            yield f"{package}.{name}", one


def summary(one: Any) -> str:
    """Return the first sentence of a docstring."""
    text = (inspect.getdoc(one) or "").partition("\n\n")[0]
    return " ".join(text.split()).replace("``", "`")


def pages() -> dict[str, str]:
    """Return a page for each public name, and their index."""
    names = dict(public_names())
    uses = examples(names)
    found = {f"{FOLDER}/{name}.md": _page(name, one, uses[name]) for name, one in names.items()}
    return found | {f"{FOLDER}/index.md": _index(names)}


def _index(names: dict[str, Any]) -> str:
    parts = [
        "# Python API\n",
        "These names of the packages are public. All others may change without notice.\n",
    ]
    for package in dict.fromkeys(name.rpartition(".")[0] for name in names):
        rows = [
            [f"[{name}]({name}.md)", summary(one)]
            for name, one in names.items()
            if name.rpartition(".")[0] == package
        ]
        parts += [f"## {package}\n", f"{summary(import_module(package))}\n"]
        parts.append(table(["name", "meaning"], rows))
    return "\n".join([*parts, toctree(names)])


def _page(name: str, one: Any, examples: list[str]) -> str:
    kind = "class" if inspect.isclass(one) else "function" if callable(one) else "data"
    lines = [f"# {name}\n", "```{eval-rst}", f".. auto{kind}:: {name}"]
    if kind == "class":
        lines += [f"   :members: {', '.join(_members(one))}"]
    lines += ["```\n", "## Where it is used\n", *(f"- {line}" for line in examples), ""]
    return "\n".join(lines)


def _members(kind: type) -> list[str]:
    """Return the public methods and properties that a class itself declares."""
    return [
        name
        for name, one in vars(kind).items()
        if not name.startswith("_")
        and name not in {"model_config", "model_fields", "model_post_init"}
        and isinstance(one, Callable | property | classmethod | staticmethod | cached_property)
    ]
