"""The number of banned words never rises."""

import json
import re
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ENDINGS = {".html", ".ipynb", ".js", ".md", ".py", ".toml"}
EXEMPT = {"docs/glossary.md", "tests/architecture/test_language.py"}
PLAIN = re.compile(
    r"\b("
    + "|".join(
        line for line in (HERE / "banned_words.txt").read_text().split("\n") if line[:1].isalpha()
    )
    + r")\b",
    re.IGNORECASE,
)


def counted(paths, root):
    """Return how often banned words stand in the files of each top-level folder."""
    found = Counter()
    for path in paths:
        name = path.relative_to(root).as_posix()
        if path.suffix in ENDINGS and name not in EXEMPT:
            found[name.partition("/")[0]] += len(PLAIN.findall(path.read_text(encoding="utf-8")))
    return {folder: number for folder, number in sorted(found.items()) if number}


def test_banned_words_become_fewer(tracked, root):
    """Each folder has at most the number in `banned_words.json`; lower it after removals."""
    most = json.loads((HERE / "banned_words.json").read_text())
    found = counted(tracked, root)
    assert {name: number for name, number in found.items() if number > most.get(name, 0)} == {}


def test_banned_words_are_found():
    assert PLAIN.findall("Whoever is told so mends the lid") == ["Whoever", "told", "mends", "lid"]
