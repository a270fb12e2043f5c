"""``python -m optimizer.cli``: the `gigatwin` command without its script."""

from optimizer.cli import app

app()
