"""A service on loopback with the answers of a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class StandIn:
    """A service.

    Attributes
    ----------
    answers
        Path -> status, headers and text of its answers; the last one repeats.
    asked
        Path, query and headers of each request.
    url
        Address of the service.
    """

    answers: dict[str, list[tuple[int, dict[str, str], str]]]
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], str]:
        """Return the next answer of a path."""
        left = self.answers.get(path, [(404, {}, "nothing here")])
        return left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def standing_in(answers: dict[str, list[tuple[int, dict[str, str], str]]]) -> Iterator[StandIn]:
    """Serve answers until the end."""
    service = StandIn(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            service.asked.append((parts.path, query, dict(self.headers)))
            status, headers, text = service.answer(parts.path)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            raw = text.encode()
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
