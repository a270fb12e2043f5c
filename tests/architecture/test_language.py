"""No text of the project holds a banned word."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ENDINGS = {
    "",
    ".css",
    ".html",
    ".ipynb",
    ".js",
    ".json",
    ".md",
    ".py",
    ".sh",
    ".service",
    ".toml",
    ".yml",
}
EXEMPT = {"docs/glossary.md", "tests/golden/earlier_names.json"}
WORDS = [line for line in (HERE / "banned_words.txt").read_text().split("\n") if line[:1].isalpha()]
BANNED = re.compile(rf"\b({'|'.join(WORDS)})\b", re.IGNORECASE)


def test_no_banned_words(tracked, root):
    found = {}
    for path in tracked:
        name = path.relative_to(root).as_posix()
        if path.suffix in ENDINGS and name not in EXEMPT:
            found[name] = BANNED.findall(path.read_text(encoding="utf-8"))
    assert len(found) > len(EXEMPT)
    assert {name: words for name, words in found.items() if words} == {}


def test_banned_words_are_found():
    assert len(WORDS) > 1
    assert BANNED.findall(" ".join(WORDS)) == WORDS
    assert BANNED.findall(f"{WORDS[0].upper()}, {WORDS[1]}s {WORDS[1]}.") == [
        WORDS[0].upper(),
        WORDS[1],
    ]
