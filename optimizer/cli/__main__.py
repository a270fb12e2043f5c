"""``python -m optimizer.cli``: the `gigatwin` command where its script is not on the path."""

from optimizer.cli import app

app()
