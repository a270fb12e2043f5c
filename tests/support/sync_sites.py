"""Calls that make files durable: found in the sources, and removed one by one.

Each call to one of ``SYNCS`` in the packages is a :class:`SyncSite`: a new one is found by itself.
"""

import ast
import importlib
import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import optimizer

ROOT = Path(optimizer.__file__).parents[1]
PACKAGES = ("optimizer", "sites", "telemetry", "twin")
SYNCS = {"fsync", "fdatasync", "syncfs", "_sync", "sync_folder", "sync_file_systems"}


@dataclass(frozen=True)
class SyncSite:
    """A call in a function; ``number`` counts such calls in the module."""

    path: str
    function: str
    number: int
    call: str

    def __str__(self):
        return f"{self.path}: {self.function}: {self.call}"


def sync_sites():
    """Return all calls that make files durable, by path."""
    return [
        site
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for site in _Finder(path).sites
    ]


class _Finder(ast.NodeTransformer):
    """Finds the sites of a module, and removes that of a number."""

    def __init__(self, path, removed=-1):
        self.sites, self._path, self._removed, self._around = [], path, removed, []
        self.tree = self.visit(ast.parse(path.read_text()))

    def _visit_named(self, node):
        self._around.append(node.name)
        self.generic_visit(node)
        self._around.pop()
        return node

    def visit(self, node):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            return self._visit_named(node)
        return self._visit_call(node) if isinstance(node, ast.Call) else super().visit(node)

    def _visit_call(self, node):
        self.generic_visit(node)
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name not in SYNCS and ast.unparse(node.func) != "os.sync":
            return node
        path, function = self._path.relative_to(ROOT), ".".join(self._around)
        site = SyncSite(str(path), function, len(self.sites), ast.unparse(node))
        self.sites.append(site)
        return ast.Constant(0) if site.number == self._removed else node


@contextmanager
def without(site):
    """Run the function of a site without its call, wherever the function is known already."""
    path = ROOT / site.path
    tree = ast.fix_missing_locations(_Finder(path, site.number).tree)
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found = reduce(getattr, site.function.split("."), module)
    function = inspect.unwrap(found.fget if isinstance(found, property) else found)
    before = function.__code__
    (changed,) = [
        code
        for code in _codes(compile(tree, str(path), "exec"))
        if code.co_qualname == before.co_qualname
    ]
    function.__code__ = changed
    try:
        yield
    finally:
        function.__code__ = before


def _codes(code):
    for one in code.co_consts:
        if inspect.iscode(one):
            yield one
            yield from _codes(one)
