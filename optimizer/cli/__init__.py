"""The `gigatwin` command."""
