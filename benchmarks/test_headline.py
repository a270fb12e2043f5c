"""The table of the README is that of the stored results."""

from benchmarks.headline import ROOT, with_headline


def test_readme_has_the_stored_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "| gigatwin |" in text
    assert with_headline(text) == text
