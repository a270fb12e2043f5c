"""Who may speak to the page: no website in the operator's browser may read it or press HOLD.

A foreign page can send requests to loopback, and can point a name of its own there (DNS
rebinding). So every request must name a permitted host, and a POST must in addition come from the
page itself (Origin) and bring the token that only the page holds.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine that a browser may use."""

PLAIN_PORTS: Final = ("80", "443")
"""Ports that a browser leaves out of the Host header."""

TOKEN_HEADER: Final = "X-Gigatwin-Token"

POLICY: Final = "Content-Security-Policy"

HEADERS: Final = {
    "Cache-Control": "no-store",
    POLICY: "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'; script-src 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Gate:
    """ASGI middleware that refuses foreign requests and marks every answer.

    Parameters
    ----------
    app
        What answers the requests that pass.
    token
        What a POST must bring in `X-Gigatwin-Token`.
    hosts
        Permitted names; one without a port stands for the port of the server.
    script
        The one script that may stand within a page.
    """

    def __init__(self, app: ASGIApp, *, token: str, hosts: Sequence[str], script: str) -> None:
        self.app = app
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        self._headers = HEADERS | {POLICY: f"{HEADERS[POLICY]} 'sha256-{digest}'"}
        self._token = token.encode()
        self._hosts = tuple(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        fault = self._fault(scope)
        if fault:
            await JSONResponse({"error": fault}, status_code=403)(scope, receive, marked)
        else:
            await self.app(scope, receive, marked)

    def _fault(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("Host", "").lower()
        if len(headers.getlist("Host")) != 1 or host not in self._permitted(scope):
            return (
                "this name is not one of the page's: open it by localhost and its port, "
                "or add the name to the hosts of the page"
            )
        if scope["method"] in {"GET", "HEAD"}:
            return None
        if headers.get("Origin", "").lower() not in {f"http://{host}", f"https://{host}"}:
            return "the request comes from another page (Origin): use the page itself"
        if not hmac.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self._token):
            return "the token is missing or old: load the page again"
        return None

    def _permitted(self, scope: Scope) -> set[str]:
        """Return the Host headers that are ours, ports included."""
        port = str((scope.get("server") or ("", ""))[1])
        permitted = set()
        for host in self._hosts:
            name, colon, own = host.rpartition(":")
            has_port = bool(colon) and own.isdigit()
            permitted.add(host if has_port else f"{host}:{port}")
            if (own if has_port else port) in PLAIN_PORTS:
                permitted.add(name if has_port else host)
        return permitted
