"""The live page of the daemon: what it does and why, for a person at three in the morning."""

from optimizer.service.web.app import create_app
from optimizer.service.web.server import PageServer

__all__ = ["PageServer", "create_app"]
