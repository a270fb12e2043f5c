"""Endpoints of the page: responses and refusals."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import msgspec
import pytest
from starlette.testclient import TestClient

from optimizer.service import live_values
from optimizer.service import page as page_module
from optimizer.service.page import MAX_PAGE_CONNECTIONS, PageServer, SharedStatus, create_app
from optimizer.service.status import state_label
from tests.support.status_pages import ENDED, HELD, NO_SERIES, OPERATOR_TOKEN, FakeBoard, decision
from tests.support.waiting import DEADLINE, until
from twin.errors import GigatwinError, StatusPageError

TOKEN = "a-token-of-this-start"
HOLD = {"author": "night shift", "reason": "leak in pod 3", "hours": 2}
PORT = 8080
UNFINISHED = 64
URL = f"http://localhost:{PORT}"


@pytest.fixture
def board():
    return FakeBoard()


@pytest.fixture
def client(board):
    return TestClient(create_app(board, token=TOKEN), base_url=URL)


def post(client, path="/hold", content=HOLD, **headers):
    """Post a command as the page does, with changed headers; None omits one."""
    whole = {"Origin": URL, "X-Gigatwin-Token": TOKEN, "Content-Type": "application/json"}
    whole |= {name.replace("_", "-"): value for name, value in headers.items()}
    given = {name: value for name, value in whole.items() if value is not None}
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return client.post(path, content=body, headers=given)


def test_page_holds_its_token_and_no_external_address(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert f'content="{TOKEN}"' in answer.text
    assert "//" not in answer.text.replace("<!doctype html>", "")


def test_token_cannot_break_out_of_its_attribute(board):
    client = TestClient(create_app(board, token='"><script>'), base_url=URL)
    assert "&quot;&gt;&lt;script&gt;" in client.get("/").text


@pytest.mark.parametrize("path", ["/", "/state.json", "/static/page.js", "/health", "/nowhere"])
def test_every_response_has_security_headers(client, path):
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers


def test_state_is_the_status_with_its_label(client, board):
    state = client.get("/state.json").json()
    assert state.pop("state") == "RUNNING"
    assert state == msgspec.to_builtins(board.status())


def test_state_is_sent_again_only_when_it_changed(client):
    tag = client.get("/state.json").headers["ETag"]
    again = client.get("/state.json", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    post(client)
    assert client.get("/state.json", headers={"If-None-Match": tag}).json()["state"] == "HOLD"


def test_not_a_number_becomes_null(client, board):
    board.changes = {
        "past": {**NO_SERIES, "time": ["2026-07-01T00:00:00Z"], "grid_power": [float("nan")]}
    }
    assert client.get("/state.json").json()["past"]["grid_power"] == [None]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "RUNNING"),
        ({"is_shadow": True}, "SHADOW"),
        ({"decision": None}, "STARTING"),
        ({"decision": None, "missing": "tank_level"}, "NO PLAN"),
        ({"decision": {**decision(), "source": "rule"}}, "FALLBACK: safe rule"),
        ({"decision": {**decision(), "source": "shifted"}}, "FALLBACK: earlier plan"),
        ({"decision": {**decision(), "source": "hold"}}, "HOLD"),
        ({"decision": {**decision(), "source": "hold"}, "ended": ENDED}, "HOLD ENDED"),
        ({"ended": ENDED}, "HOLD ENDED"),
        ({"ended": ENDED, "hold": HELD}, "HOLD"),
        ({"ended": ENDED, "missing": "tank_level"}, "NO PLAN"),
        ({"decision": {**decision(), "source": "hold"}, "missing": "tank_level"}, "NO PLAN"),
        ({"link": "disconnected"}, "OFFLINE: broker"),
        ({"link": "disconnected", "hold": HELD}, "HOLD"),
        ({"link": "silent"}, "OFFLINE: plant"),
        ({"link": "silent", "is_shadow": True}, "OFFLINE: plant"),
        ({"link": "ended"}, "PLANT ENDED"),
        ({"link": "ended", "hold": HELD}, "HOLD"),
        ({"is_shadow": True, "decision": {**decision(), "source": "rule"}}, "FALLBACK: safe rule"),
    ],
)
def test_state_label(board, changes, expected):
    board.changes = changes
    assert state_label(board.status()) == expected


def test_orders_reach_the_service(client, board):
    assert post(client).json() == {"accepted": "hold", "hold": 1, "said": ""}
    assert post(client, content={**HOLD, "author": " Zoë ", "hours": None}).json()["hold"] == 2
    signed = {"token": OPERATOR_TOKEN}
    changed = {"hold": 1, "of": "night shift", "hours": 0.5, "reason": "still there"} | signed
    assert post(client, "/replace", changed).status_code == 200
    assert post(client, "/release", {"hold": 2, "of": "Zoë"} | signed).status_code == 200
    assert board.orders == [
        ("hold", "night shift", "leak in pod 3", 2.0),
        ("hold", "Zoë", "leak in pod 3", None),
        ("replace", 1, "still there", 0.5),
        ("release", 2),
    ]
    assert [one["author"] for one in client.get("/state.json").json()["holds"]] == ["eva"]


def test_hold_needs_neither_name_nor_reason(client, board):
    """Proves: a HOLD is placed at once by anybody who reaches the page."""
    assert post(client, content={}).status_code == 200
    (held,) = board.status().holds
    assert (held.author, held.reason) == ("not signed in (page)", "pending")


@pytest.mark.parametrize("path", ["/release", "/replace"])
@pytest.mark.parametrize("token", [None, "", TOKEN, "ü"])
def test_token_of_the_page_ends_no_hold(client, board, path, token):
    """Proves: what GET / hands to everybody suffices to place a HOLD only.

    Sensitivity: any local user could read the token and end a person's HOLD.
    """
    post(client)
    content = {"hold": 1, "of": "night shift"} | ({} if token is None else {"token": token})
    answer = post(client, path, content)
    assert (answer.status_code, answer.json()["code"]) == (403, "unauthorised")
    assert len(board.orders) == 1
    assert client.get("/state.json").json()["state"] == "HOLD"


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Gigatwin_Token": None},
        {"X_Gigatwin_Token": "another"},
        {"X_Gigatwin_Token": "ü".encode()},
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": f"http://localhost:{PORT}.evil.example"},
        {"Origin": "http://localhost:9999"},
        {"Host": "evil.example"},
        {"Host": f"evil.example:{PORT}", "Origin": f"http://evil.example:{PORT}"},
        {"Host": "localhost"},
        {"Host": "localhost:9999", "Origin": "http://localhost:9999"},
    ],
)
def test_foreign_commands_are_refused(client, board, headers):
    answer = post(client, **headers)
    assert answer.status_code == 403
    assert answer.json()["error"]
    assert board.orders == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_names_of_loopback_are_served(client, host):
    assert client.get("/", headers={"Host": f"{host}:{PORT}"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/state.json", "/metrics", "/health/live", "/static/x"])
def test_foreign_host_names_are_refused(client, path):
    answer = client.get(path, headers={"Host": f"rebound.example:{PORT}"})
    assert answer.status_code == 403
    assert TOKEN not in answer.text


def test_configured_names_are_served(board):
    app = create_app(board, token=TOKEN, hosts=("twin.plant", "proxy.plant:443"))
    client = TestClient(app, base_url=URL)
    served = [f"twin.plant:{PORT}", "proxy.plant:443", "proxy.plant"]
    refused = ["twin.plant", f"proxy.plant:{PORT}", f"localhost:{PORT}"]
    assert [client.get("/", headers={"Host": host}).status_code for host in served] == [200] * 3
    assert [client.get("/", headers={"Host": host}).status_code for host in refused] == [403] * 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"author": "a", "author": "b", "reason": "c"}',
        b'{"author": "a", "reason": "b", "hours": NaN}',
        b'{"author": "a", "reason": "b", "hours": 1e999}',
        b"[" * 4000,
        {**HOLD, "is_self_ending": 1},
        {**HOLD, "hours": 0},
        {**HOLD, "hours": -1},
        {**HOLD, "hours": 745},
        {**HOLD, "hours": "2"},
        {**HOLD, "hours": True},
        {**HOLD, "force": True},
    ],
)
def test_malformed_commands_are_refused_with_a_reason(client, board, content):
    answer = post(client, content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert board.orders == []


def test_invisible_characters_become_blanks(client, board):
    """Proves: invisible characters become blanks, as on the command line.

    Sensitivity: `Not done: reason: String should match pattern '^[^\\p{C}]*$'`, and no HOLD.
    """
    assert (
        post(client, content={**HOLD, "reason": "pump\u00ad 2\t\u202e leaks\x1b"}).status_code
        == 200
    )
    assert post(client, content={**HOLD, "author": "a\nforged line of a log"}).status_code == 200
    (first, second) = board.orders
    assert "pump 2 leaks" in str(first)
    assert "a forged line of a log" in str(second)


@pytest.mark.parametrize(
    "texts",
    [
        {"author": "x" * 5000, "reason": "y" * 5000},
        {"token": "z" * 5000},
        {"token": 7, "author": None, "reason": ["leak"]},
    ],
)
def test_hold_is_not_refused_for_its_texts(client, board, texts):
    """Proves: HOLD takes effect whatever its texts are. Sensitivity: status 400."""
    assert post(client, content={**HOLD, **texts}).status_code == 200
    assert len(board.orders) == 1


@pytest.mark.parametrize("path", ["/release", "/replace"])
def test_order_about_a_hold_names_its_author(client, board, path):
    """Sensitivity: an old page released a HOLD that another person had taken over."""
    post(client)
    assert post(client, path, {"hold": 1, "token": OPERATOR_TOKEN}).status_code == 400
    assert len(board.orders) == 1


def test_large_and_foreign_bodies_are_refused(client, board):
    assert post(client, content={**HOLD, "reason": "x" * 70_000}).status_code == 413
    assert post(client, Content_Type="text/plain").status_code == 415
    assert post(client, Content_Type=None).status_code == 415
    assert board.orders == []


def test_get_commands_nothing(client, board):
    assert client.get("/hold").status_code == 405
    assert board.orders == []


def test_service_error_is_shown(client, board, monkeypatch):
    def refuse(**_):
        raise GigatwinError("the state folder is full: make room")

    monkeypatch.setattr(board, "hold", refuse)
    answer = post(client)
    assert (answer.status_code, answer.json()["error"]) == (
        409,
        "the state folder is full: make room",
    )


def test_health_reports_what_is_missing(client, board):
    assert client.get("/health/live").text == "alive\n"
    assert client.get("/health/ready").text == "ready\n"
    board.missing = ["no plan since 12:00"]
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.text) == (503, "not ready:\nno plan since 12:00\n")
    health = client.get("/health").json()
    assert (health["state"], health["is_ready"], health["revision"]) == ("RUNNING", False, 147)
    assert client.get("/health/live").status_code == 200


def test_metrics_are_served_as_prometheus_reads_them(client):
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "gigatwin_ready 1.0" in answer.text


def get(url, path):
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_server_serves_until_it_is_stopped(board):
    server = PageServer(board, port=0, token=TOKEN)
    server.start()
    assert get(server.url, "/health/ready") == 200
    server.stop()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        get(server.url, "/health/ready")


def test_idle_connections_are_closed(board, monkeypatch):
    """Proves: the page answers despite the maximum of idle connections. Sensitivity: 503."""
    monkeypatch.setattr("optimizer.service.page.REQUEST_TIMEOUT_S", 0.2)
    with PageServer(board, port=0, token=TOKEN) as server, ExitStack() as stack:
        where = ("127.0.0.1", urlsplit(server.url).port)
        idle = [stack.enter_context(socket.create_connection(where)) for _ in range(UNFINISHED)]
        idle[0].sendall(b"GET /health")  # an incomplete request
        for one in idle:
            one.settimeout(DEADLINE)
            assert one.recv(1) == b""
        monkeypatch.setattr("optimizer.service.page.REQUEST_TIMEOUT_S", DEADLINE)
        assert get(server.url, "/health/live") == 200


def test_connection_with_half_a_second_request_is_closed(board, monkeypatch):
    """Sensitivity: after one request a connection stayed open as long as its client liked."""
    monkeypatch.setattr("optimizer.service.page.REQUEST_TIMEOUT_S", 0.2)
    request = "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\nGET /health"
    with PageServer(board, port=0, token=TOKEN) as server:
        port = urlsplit(server.url).port

        def answer():
            """Return what comes until the server closes: nothing if this thread was too slow."""
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as one:
                try:
                    one.sendall(request.format(port).encode())
                    return one.makefile("rb").read()
                except ConnectionError:
                    return b""

        until(lambda: answer().endswith(b"alive\n"))


def test_unfinished_bodies_do_not_block_the_page(board, monkeypatch):
    """Proves: while 64 orders have not arrived, health, state and other orders are answered.

    Sensitivity: /health answered 503, as for a service that is down.
    """
    monkeypatch.setattr(page_module, "BODY_TIMEOUT_S", 1.0)
    head = f"POST /hold HTTP/1.1\r\nHost: 127.0.0.1:{{port}}\r\nX-Gigatwin-Token: {TOKEN}\r\n"
    head += "Origin: http://127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    head += "Content-Length: 100\r\n\r\n{{"
    with PageServer(board, port=0, token=TOKEN) as server, ExitStack() as stack:
        where = ("127.0.0.1", urlsplit(server.url).port)
        slow = [stack.enter_context(socket.create_connection(where)) for _ in range(UNFINISHED)]
        for one in slow:
            one.sendall(head.format(port=where[1]).encode())
        for path in ("/health", "/health/live", "/state.json"):
            assert get(server.url, path) == 200
        for one in slow:  # each is answered and closed, without the rest of its body
            one.settimeout(DEADLINE)
            answer = one.makefile("rb").read()
            assert answer[9:12] in {b"408", b"503"}
    assert board.orders == []


def test_late_body_is_refused(board, monkeypatch):
    monkeypatch.setattr(page_module, "BODY_TIMEOUT_S", 0.05)
    with PageServer(board, port=0, token=TOKEN) as server:
        parts = urlsplit(server.url)
        headers = {"Origin": server.url.rstrip("/"), "X-Gigatwin-Token": TOKEN}
        headers |= {"Content-Type": "application/json", "Content-Length": "100"}
        connection = HTTPConnection(parts.hostname, parts.port, timeout=DEADLINE)
        connection.putrequest("POST", "/hold")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(b"{")
        answer = connection.getresponse()
        assert answer.status == 408
        assert "did not arrive" in json.loads(answer.read())["error"]
        connection.close()


class Builds:
    """A board that counts its statuses, and builds each when it is allowed to."""

    def __init__(self, board):
        self.count, self.board, self.is_allowed = 0, board, threading.Event()
        self.is_allowed.set()

    def __call__(self):
        self.count += 1
        number = self.count
        assert self.is_allowed.wait(DEADLINE)
        return msgspec.structs.replace(self.board.status(), interval_minutes=number)


def test_all_clients_share_one_status(board, monkeypatch):
    """Proves: 50 clients let the service build one status a period, not one each."""
    monkeypatch.setattr(page_module, "SHARED_STATUS_PERIOD_S", 10 * DEADLINE)
    builds = Builds(board)
    shared = SharedStatus(builds)
    with ThreadPoolExecutor(50) as pool:
        shown = list(pool.map(lambda _: shared.get().status.interval_minutes, range(200)))
    assert set(shown) == {1}
    shared.expire()
    assert shared.get().status.interval_minutes == 2
    assert builds.count == 2


def test_client_is_answered_while_a_status_is_built(board, monkeypatch):
    """Proves: clients do not wait for a decision that holds up the next status."""
    monkeypatch.setattr(page_module, "SHARED_STATUS_PERIOD_S", 0.0)
    builds = Builds(board)
    shared = SharedStatus(builds)
    assert shared.get().status.interval_minutes == 1
    builds.is_allowed.clear()
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(shared.get)
        until(lambda: builds.count == 2)
        assert shared.get().status.interval_minutes == 1
        builds.is_allowed.set()
        assert building.result().status.interval_minutes == 2


def test_state_is_compressed_for_clients_that_accept_it(client):
    plain = client.get("/state.json", headers={"Accept-Encoding": "identity"})
    packed = client.get("/state.json", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.json() == plain.json()


def test_connections_are_limited(board, monkeypatch):
    """Sensitivity: a thousand connections used all file descriptors of the process. For seconds
    nothing could be decided, ordered or stored, and asyncio wrote 17 MB of log.
    """
    monkeypatch.setattr("optimizer.service.page.REQUEST_TIMEOUT_S", 10 * DEADLINE)
    with PageServer(board, port=0, token=TOKEN) as server, ExitStack() as stack:
        where = ("127.0.0.1", urlsplit(server.url).port)
        for _ in range(MAX_PAGE_CONNECTIONS):
            stack.enter_context(socket.create_connection(where))
        with socket.create_connection(where, DEADLINE) as one_more:
            assert one_more.recv(1) == b""


@contextmanager
def viewer(url, buffer=None):
    """Open a stream of live values, and yield its socket."""
    where = ("127.0.0.1", urlsplit(url).port)
    with socket.socket() as one:
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        one.settimeout(DEADLINE)
        one.connect(where)
        one.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{where[1]}\r\n\r\n".encode())
        yield one


def events(one):
    """Yield the live values that a viewer receives."""
    for line in one.makefile():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_live_values_come_without_a_decision(board, monkeypatch):
    monkeypatch.setattr(live_values, "LIVE_PERIOD_S", 0.02)
    with PageServer(board, port=0, token=TOKEN) as server, viewer(server.url) as one:
        received = events(one)
        first = next(received)
        assert first == msgspec.to_builtins(board.live_status())
        board.live = {"value": 7.5, "is_stale": True, "age_s": 400.0}
        until(lambda: next(received)["values"][0]["value"] == 7.5)
        with viewer(server.url) as another:
            assert next(events(another))["values"][0]["is_stale"]


def test_further_viewers_are_refused(board, monkeypatch):
    monkeypatch.setattr(live_values, "MAX_LIVE_VIEWERS", 2)
    with PageServer(board, port=0, token=TOKEN) as server, ExitStack() as stack:
        for _ in range(2):
            next(events(stack.enter_context(viewer(server.url))))
        assert get(server.url, "/events") == 503
        assert get(server.url, "/state.json") == 200
        stack.close()
        with viewer(server.url) as one:  # their places are free again
            until(lambda: get(server.url, "/events") == 200)
            one.close()


def test_viewer_who_does_not_read_is_disconnected(board, monkeypatch):
    """Proves: one who reads nothing delays no other viewer and no HOLD, and loses the stream."""
    monkeypatch.setattr(live_values, "LIVE_PERIOD_S", 0.005)
    monkeypatch.setattr(live_values, "MAX_LIVE_VIEWERS", 2)
    monkeypatch.setattr(page_module, "UNREAD_TIMEOUT_S", 0.5)
    monkeypatch.setattr(page_module, "SEND_BUFFER_BYTES", 4096)
    board.live = {"name": "x" * 50_000}
    with PageServer(board, port=0, token=TOKEN) as server, ExitStack() as stack:
        deaf = stack.enter_context(viewer(server.url, buffer=4096))
        received = events(stack.enter_context(viewer(server.url)))
        next(received)
        assert get(server.url, "/events") == 503
        hold(server.url)
        assert len(board.orders) == 1
        until(lambda: get(server.url, "/events") == 200)
        while deaf.recv(1 << 16):  # what was sent before
            pass


def hold(url):
    """Place a HOLD as the page does."""
    parts = urlsplit(url)
    headers = {"Origin": url.rstrip("/"), "X-Gigatwin-Token": TOKEN}
    connection = HTTPConnection(parts.hostname, parts.port, timeout=DEADLINE)
    headers |= {"Content-Type": "application/json"}
    connection.request("POST", "/hold", json.dumps(HOLD), headers)
    assert connection.getresponse().status == 200
    connection.close()


def test_occupied_port_is_reported_with_a_remedy(board):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            StatusPageError, match=rf"port {port} \(address already in use.*another port"
        ):
            PageServer(board, port=port, token=TOKEN).start()


def test_invalid_port_is_reported(board):
    with pytest.raises(StatusPageError, match="port 70000"):
        PageServer(board, port=70_000, token=TOKEN).start()


def test_port_is_free_again_at_once(board):
    with PageServer(board, port=0, token=TOKEN) as server:
        get(server.url, "/")
        port = urlsplit(server.url).port
    with PageServer(board, port=port, token=TOKEN) as server:
        assert get(server.url, "/") == 200
