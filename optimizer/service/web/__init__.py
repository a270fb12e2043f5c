"""The live page of the service: what it does and why."""

from optimizer.service.web.app import create_app
from optimizer.service.web.server import PageServer

__all__ = ["PageServer", "create_app"]
