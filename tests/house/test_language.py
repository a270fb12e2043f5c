"""Words that outsiders do not understand: their number falls, and rises nowhere."""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ENDINGS = {".html", ".ipynb", ".js", ".md", ".py", ".toml"}
EXEMPT = {"docs/glossary.md", "tests/house/test_language.py"}
PLAIN = re.compile(
    r"\b("
    + "|".join(
        line for line in (HERE / "banned_words.txt").read_text().split("\n") if line[:1].isalpha()
    )
    + r")\b",
    re.IGNORECASE,
)


def counted():
    """Return how often banned words stand in the files of each top-level folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    if listed.returncode:
        pytest.skip("this tree is not a git clone")
    found = Counter()
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in ENDINGS and name not in EXEMPT and path.is_file():
            found[name.partition("/")[0]] += len(PLAIN.findall(path.read_text(encoding="utf-8")))
    return {folder: number for folder, number in sorted(found.items()) if number}


def test_banned_words_become_fewer():
    """Each folder holds at most what `banned_words.json` says; lower it with what you remove."""
    most = json.loads((HERE / "banned_words.json").read_text())
    found = counted()
    assert {name: number for name, number in found.items() if number > most.get(name, 0)} == {}


def test_a_banned_word_is_found():
    assert PLAIN.findall("Whoever is told so mends the lid") == ["Whoever", "told", "mends", "lid"]
