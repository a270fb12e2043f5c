"""The `gigatwin` command."""

from optimizer.cli.root import app

__all__ = ["app"]
