"""Pages of the documentation site that the code determines: API, commands, messages, variables."""

from pathlib import Path

from docs.generators import api, commands, links, messages, tutorials, variables

GENERATORS = (api, commands, links, messages, tutorials, variables)


def write_pages(docs: Path) -> None:
    """Write each generated page that differs, and delete those that are no longer generated.

    Pages keep their modification time if their text is the same, so that Sphinx does not read them
    again.
    """
    for generator in GENERATORS:
        pages = {docs / name: text for name, text in generator.pages().items()}
        for path, text in pages.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
        if generator.FOLDER:
            for path in (docs / generator.FOLDER).iterdir():
                if path not in pages:
                    path.unlink()
