"""The live page of the service: what it does and why."""

from optimizer.service.web.app import PageServer, create_app

__all__ = ["PageServer", "create_app"]
