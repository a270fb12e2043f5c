"""The packages as text and syntax trees, for the architecture tests."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("twin", "sites", "telemetry", "optimizer")


@dataclass(frozen=True)
class Module:
    """One Python file of a package."""

    path: Path
    name: str

    @property
    def place(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def imports(self) -> set[str]:
        """Return the full names of all that is imported, anywhere in the file."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            names |= imported(node)
        return names


def imported(node: ast.AST) -> set[str]:
    """Return what an import statement names; ``from a import b`` names both a and a.b."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        return {module} | {f"{module}.{alias.name}" for alias in node.names}
    return set()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


def every_module() -> dict[str, Module]:
    """Return the files of all packages by their dotted names."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = Module(path=path, name=name)
    assert found.keys() >= set(PACKAGES)  # or all tests would pass on nothing
    return found


@pytest.fixture(scope="session")
def modules() -> dict[str, Module]:
    """Return the files of all rooms by their dotted names."""
    return every_module()


@pytest.fixture(name="imported", scope="session")
def fixture_imported():
    return imported


@pytest.fixture(scope="session")
def tracked(root):
    """Return the files of this clone that git knows."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip("this tree is not a git clone")
    paths = [root / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]
