"""The tree holds no path of one machine, no package registry and no large file."""

import re

LARGEST = 1_000_000
"""Bytes of a file."""

FORBIDDEN = re.compile(
    r"/(?:work|root)/"  # folders of one machine
    r"|/home/\w+/"
    r"|--(?:extra-)?index[-]url|--find[-]links|--trusted[-]host"
    r"|py(?:pi\.org|thonhosted)|https?://[^\s\"']*/simple\b"
)


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
