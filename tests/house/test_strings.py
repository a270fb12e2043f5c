"""Nothing of one machine in the tree: no path of it, no registry, no large file."""

import re
import subprocess

import pytest

LARGEST = 1_000_000
"""Bytes of a file."""

FORBIDDEN = re.compile(
    r"/(?:work|root)/"  # folders of one machine
    r"|/home/\w+/"
    r"|--(?:extra-)?index[-]url|--find[-]links|--trusted[-]host"
    r"|py(?:pi\.org|thonhosted)|https?://[^\s\"']*/simple\b"
)


@pytest.fixture(scope="module")
def tracked(root):
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip("this tree is not a git clone")
    paths = [root / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_machine_and_no_registry_is_named(tracked):
    wrong = []
    for path in tracked:
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if path.name != "test_strings.py" and FORBIDDEN.search(line):
                wrong.append(f"{path.name}:{number} {line.strip()}")
    assert wrong == []


def test_files_are_small(tracked):
    sizes = {path.name: path.stat().st_size for path in tracked}
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}
