"""The page in Chromium, on desktop and phone, in light and dark mode."""

import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from optimizer.service.operators import Requester
from optimizer.service.page import PageServer, SharedStatus
from tests.support.status_pages import (
    ENDED,
    NOTHING_DECIDED,
    NOW,
    OPERATOR_TOKEN,
    STEP,
    VALVE,
    FakeBoard,
    asked,
    decision,
    failures,
    iso,
)

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow

MOST_BYTES = 300_000
PATIENCE = 60_000  # ms
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
)
CHARTS = ("power", "price", "carbon", "temperature", "stores", "work")

PROBES = Path(__file__).with_name("page_probes.js").read_text()


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def board():
    return FakeBoard()


@pytest.fixture
def server(board):
    with PageServer(board, port=0, token="a-token") as server:
        yield server


@pytest.fixture
def visit(browser, server, board):
    """Return a function that opens the page; browser errors fail the test."""
    contexts = []
    troubles = []

    def visit(width=1280, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        lost = []
        page.on("requestfailed", lambda request: lost.append(f"{request.url} {request.failure}"))
        page.goto(server.url)
        try:
            wait_for_newest_status(page, board)
        except AssertionError as error:
            error.add_note(f"{page.text_content('.now')}; lost: {lost}")
            raise
        return page

    yield visit
    for context in contexts:
        context.close()
    expected = ("ERR_CONNECTION_REFUSED", "status of 403")  # a stopped service, a refused order
    assert [text for text in troubles if not any(one in text for one in expected)] == []


def faults(page):
    """Return visible layout errors."""
    probes = ("overflows", "overlaps", "cut", "crowded", "faint")
    found = {probe: page.evaluate(f"{PROBES}.{probe}()") for probe in probes}
    return {probe: wrong for probe, wrong in found.items() if wrong}


def plain(page, place):
    """Return a text of the page with plain spaces and hyphens."""
    return page.text_content(place).replace("\xa0", " ").replace("\u2013", "-")


def wait_for_newest_status(page, board):
    """Wait until the page shows the present status: the service shares each one for a while."""
    newest = SharedStatus(board.status).get().entity_tag
    shown = sync_api.expect(page.locator("html"))
    shown.to_have_attribute("data-status", newest, timeout=PATIENCE)


def wait_for_word(page, text):
    sync_api.expect(page.locator("#word")).to_have_text(text, timeout=PATIENCE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 360])
def test_page_is_laid_out(visit, width, scheme):
    page = visit(width, scheme)
    assert faults(page) == {}
    page.hover("#power svg.plot")
    assert faults(page) == {}
    page.mouse.move(0, 0)
    hold(page)
    page.get_by_role("button", name="Take over HOLD 1").click()
    assert faults(page) == {}


def hold(page):
    """Press HOLD for as long as it takes, and wait until it is in force."""
    page.hover("#hold")
    page.mouse.down()
    sync_api.expect(page.locator("#answer")).to_contain_text("is in force", timeout=PATIENCE)
    page.mouse.up()
    wait_for_word(page, "HOLD")


def test_measurements_are_shown_until_the_next_decision(visit, board):
    """Proves: an elapsed quarter-hour without a decision hides no earlier value.

    Sensitivity: a dash, as at the end of a demo day.
    """
    board.changes = {"time": iso(NOW + STEP)}
    legend = visit().text_content("#power .legend")
    assert "measured 184.4" in legend


def test_unplanned_intervals_are_not_marked_above_plan(visit, board):
    """Proves: the first quarter-hour has no earlier plan, which is not a plan of 0 MW.

    Sensitivity: "Takes 184.4 MW from the grid, 184.4 above its plan".
    """
    board._past["planned_power"][-1] = None
    text = plain(visit(), "#draws")
    assert "14:15-14:30: took 184.4 MW from the grid.\n14:30-14:45: planned" in text


def test_silent_meter_is_not_shown_as_a_silent_service(visit, board):
    """Proves: the last meter reading and its age are shown.

    Sensitivity: NO ANSWER for a service that answered, until the meter reported.
    """
    board.changes = {"last_known": {"grid_power": 151.2, "age_minutes": 37}}
    page = visit()
    wait_for_word(page, "RUNNING")
    text = page.text_content("#draws").replace("\xa0", " ")
    assert "meter is silent: last it showed 151.2 MW, 37 min before the plan" in text


def test_display_error_is_not_shown_as_a_silent_service(visit, board):
    """Proves: an error in one card is shown as such; the state and other parts are shown."""
    board.changes, board.malformed = {"missing": "tank_level"}, {"jobs": {"kinds": [None]}}
    page = visit()
    wait_for_word(page, "NO PLAN")
    assert "this page cannot show all" in page.text_content("#silence")
    assert page.locator("#silence").is_visible()
    assert page.locator("#power svg.plot").is_visible()


@pytest.mark.parametrize(
    ("changes", "shown_text"),
    [
        ({"missing": "tank_level"}, "quarter-hour: tank_level. It tries again"),
        ({"ended": ENDED}, "goes on with the next quarter-hour."),
    ],
)
def test_unordered_values_are_not_shown_as_ordered(visit, board, changes, shown_text):
    """Proves: in shadow mode no caps are frozen and no requests withdrawn."""
    board.changes = {"is_shadow": True, **changes}
    text = visit().text_content("#why")
    assert text.startswith("Shadow mode: it publishes and orders nothing.")
    assert shown_text in text
    assert "aps" not in text


def test_broker_error_names_the_broker_once(visit, board):
    trouble = "mqtt://broker:1883: nothing listens there; start the broker"
    board.changes = {
        "broker": {"url": "mqtt://broker:1883", "is_connected": False, "trouble": trouble}
    }
    assert f"No connection to {trouble}. It keeps" in visit().text_content("#why")


def test_continued_plan_is_shown_as_continued(visit, board):
    """Proves: a difference below the display precision is as planned. Sensitivity: "0.0 below"."""
    board._past["planned_power"][-1] = board._past["grid_power"][-1] + 0.03
    assert "from the grid, as planned." in visit().text_content("#draws")


MISSING = "\n".join(
    f"battery_level of battery_{number}: no sensor has shown it yet; expected on BMS/v1/PUB/Value/"
    for number in range(9)
)
"""Reason for a missing plan: nine points, one on each line."""


@pytest.mark.parametrize("width", [390, 768, 1440, 2560])
def test_hold_has_one_place(visit, board, width):
    """Proves: the same place with any text, with banners, and when scrolled down.

    Sensitivity: nine missing points moved it to y = 1151 px on a phone.
    """
    page = visit(width)
    first = page.locator("#hold").bounding_box()
    board.changes = {"missing": MISSING, "asked": [*asked()] * 5}
    wait_for_word(page, "NO PLAN")
    assert page.locator("#hold").bounding_box() == first
    page.click("#more")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert page.evaluate("window.scrollY") > 0
    assert page.locator("#hold").bounding_box() == first
    board.changes = {"decision": {**decision(), "source": "shifted"}}
    wait_for_word(page, "FALLBACK: earlier plan")
    assert page.locator("#hold").bounding_box() == first
    board.hold(author="night shift", reason="leak in pod 3 " * 20, hours=2.5)
    wait_for_word(page, "HOLD")
    assert page.locator("#hold").bounding_box() == first
    assert faults(page) == {}


@pytest.mark.parametrize("width", [390, 1440])
def test_reason_takes_two_lines_until_a_click(visit, board, width):
    board.changes = {"missing": MISSING}
    page = visit(width)
    wait_for_word(page, "NO PLAN")
    why = page.locator("#why")
    line = page.evaluate("parseFloat(getComputedStyle(document.body).lineHeight)")
    assert why.bounding_box()["height"] <= 2 * line + 1
    page.click("#more")
    assert why.bounding_box()["height"] > 9 * line
    assert page.text_content("#more") == "Show less"
    page.click("#more")
    assert why.bounding_box()["height"] <= 2 * line + 1
    board.changes = {}
    wait_for_word(page, "RUNNING")
    assert page.locator("#more").is_hidden()


def test_shadow_mode_does_not_look_like_running(visit, board):
    page = visit()
    border = "getComputedStyle(document.getElementById('word')).borderStyle"
    assert page.evaluate(border) == "solid"
    board.changes = {"is_shadow": True}
    wait_for_word(page, "SHADOW")
    assert page.evaluate(border) == "dashed"
    board.changes = {"is_shadow": True, "missing": "tank_level"}
    wait_for_word(page, "NO PLAN")
    assert page.evaluate(border) == "dashed"


def test_each_figure_names_its_quarter_hour(visit, board):
    """Proves: header and chart show the plan of the same quarter-hour, also after the decision's.

    Sensitivity: "planned now 86.9 MW" stood above "plan 45.2 MW".
    """
    board._plan["grid_power"][:2] = [86.9, 45.2]
    page = visit()
    assert "14:30-14:45: planned 86.9" in plain(page, "#draws")
    assert "measured 184.4 MW of at most 235.0 14:15-14:30" in plain(page, "#power .legend")
    assert "plan, with p10 to p90 86.9 MW 14:30-14:45" in plain(page, "#power .legend")
    assert "battery 60.0 MWh of at most 80.0 14:30" in plain(page, "#stores .legend")
    board.changes = {"time": iso(NOW + STEP)}
    draws = sync_api.expect(page.locator("#draws"))
    draws.to_contain_text("14:45\u201315:00: planned 45.2", timeout=PATIENCE)
    assert "plan, with p10 to p90 45.2 MW 14:45-15:00" in plain(page, "#power .legend")


def test_load_target_in_force_is_in_the_header(visit, board):
    text = visit().text_content("#targets")
    assert "Load target of tso-1 in force: at most 150.00 MW until Wed 1 Jul, 18:00" in text
    board.changes = {"asked": [{**asked()[0], "begin": iso(NOW + STEP)}]}
    page = visit()
    assert "at most 150.00" in page.text_content("#limits")
    assert page.text_content("#targets") == ""


@pytest.mark.parametrize("width", [1280, 390, 360])
def test_other_states_are_laid_out(visit, board, width):
    long = "a rather long text of a partner without end " * 6
    board.changes = {
        "decision": {**decision(), "source": "rule", "reason": long, "changes": [long, "x" * 200]},
        "alarms": [
            {
                "id": "broker",
                "time": "2026-07-01T12:00:00Z",
                "since": "2026-07-01T12:00:00Z",
                "subject": "",
                "values": {},
                "severity": "high",
                "cause": "broker",
                "text": long,
                "remedy": long,
            }
        ]
        * 30,
        "feed": [
            {
                "partner": "p" * 40,
                "acknowledged": None,
                "revision": 834883209,
                "state": "overdue",
                "sent": iso(NOW - 100 * STEP),
                "text": long,
            }
        ],
    }
    page = visit(width)
    wait_for_word(page, "FALLBACK: safe rule")
    assert "18 more alarms" in page.text_content("#alarms")
    assert faults(page) == {}


def test_failures_are_shown_with_minutes_to_limit(visit, board):
    text = visit().text_content("#failures").replace("\xa0", " ")
    assert "First limit now: 3.7 min after warm_plant fails (supply limit of warm_plant)" in text
    assert "14.4 min" in text
    assert "1 other single failure without any limit" in text
    board.changes = {"failures": {**failures(), "exposed": ["x too soon after chiller_1 fails"]}}
    assert "Not covered: x too soon" in visit().text_content("#failures")


def test_refused_reading_is_named(visit):
    """Sensitivity: `Refused 3 range`, without point, topic or value."""
    text = visit().text_content("#telemetry")
    topic = f"BMS/v1/PUB/Value/{VALVE}"
    assert f"14:30: 735 %, expected -5 to 110 %, 3 times, on {topic}" in text


def test_racks_of_small_jobs_are_shown(visit, board):
    kind = {"kind": "batch", "running": 3, "waiting": 0, "racks": 0.25}
    jobs = {"running": 3, "waiting": 0, "late": 0, "backlog_mwh": 0.2}
    board.changes = {"jobs": {**jobs, "kinds": [kind, kind | {"kind": "training", "racks": 240.5}]}}
    rows = visit().locator("#jobs tbody tr")
    assert rows.nth(0).locator("td").last.text_content() in {"0.25", "0,25"}
    assert rows.nth(1).locator("td").last.text_content() in {"241", "240"}


def test_shadow_mode_shows_no_job_orders(visit, board):
    """Proves: plans in shadow mode are not orders, so others decide which jobs run."""
    assert "197 running" in visit().text_content("#jobs")
    board.changes = {"is_shadow": True}
    text = visit().text_content("#jobs")
    assert "197 would run" in text
    assert "running" not in text.lower()


@pytest.mark.parametrize("chart", CHARTS)
def test_no_chart_is_empty(visit, chart):
    page = visit()
    lines = page.locator(f"#{chart} svg.plot path.line")  # read at once, because lines are redrawn
    shown = lines.evaluate_all("all => all.map((l) => [l.getBBox().width, l.getAttribute('d')])")
    assert shown
    for width, drawn in shown:
        assert width > 100
        assert len(drawn) > 300
    assert page.locator(f"#{chart} .nowtext").text_content() == "now"


def test_empty_data_is_explained(visit, board):
    board.changes = {**NOTHING_DECIDED, "time": None, "feed": [], "alarms": [], "telemetry": {}}
    page = visit()
    wait_for_word(page, "STARTING")
    assert "waits for telemetry" in page.text_content("#why")
    assert "no time yet" in page.text_content("#clock")
    for card in (*CHARTS, "jobs", "decision", "limits", "failures", "feed", "alarms"):
        assert len(page.text_content(f"#{card} .empty")) > 5
    for chart in ("price", "carbon"):  # none was read yet; the files have no error
        assert "yet" in page.text_content(f"#{chart} .empty")
    assert faults(page) == {}


def test_rule_plan_shows_no_binding_limits(visit, board):
    """Sensitivity: `No limit holds the plan back. Nothing changed since the last plan.`"""
    unpriced = {"source": "hold", "reason": "the meter is silent", "accounts": {}}
    board.changes = {"decision": decision() | unpriced | {"binding": [], "changes": []}}
    text = visit().text_content("#limits .body")
    assert "this decision has no prices" in text
    assert "No limit" not in text
    assert "Nothing changed" not in text


def test_nothing_leaves_loopback_and_the_page_is_small(browser, server):
    context = browser.new_context()
    page = context.new_page()
    answers = []
    page.on(
        "request", lambda request: request.is_navigation_request() and answers.clear()
    )  # watch.js
    page.on("response", lambda answer: answers.append(answer))
    page.goto(server.url)
    page.wait_for_selector("#work svg.plot")
    with page.expect_response(lambda answer: answer.status == 304):
        pass
    assert {urlsplit(answer.url).hostname for answer in answers} == {"127.0.0.1"}
    assert sum(len(answer.body()) for answer in answers if is_whole(answer)) < MOST_BYTES
    context.close()


def is_whole(answer):
    """Return whether an answer has an end, unlike a stream."""
    return answer.status == 200 and not answer.url.endswith("/events")


def test_live_values_show_their_age(visit, board):
    page = visit()
    grid = sync_api.expect(page.locator("#live li").first)
    grid.to_contain_text("184.2\xa0MW", timeout=PATIENCE)
    board.live = {"value": 12.3}
    grid.to_contain_text("12.3\xa0MW", timeout=PATIENCE)
    grid.not_to_contain_text("stale")
    board.live = {"age_s": 400.0, "is_stale": True}
    grid.to_contain_text("stale: 7\xa0min old", timeout=PATIENCE)


def test_silent_stream_marks_all_values(visit, server):
    page = visit()
    sync_api.expect(page.locator("#live li")).to_have_count(7, timeout=PATIENCE)
    server.stop()
    sync_api.expect(page.locator("#live li.stale")).to_have_count(7, timeout=PATIENCE)


def test_times_are_in_site_zone_and_utc(visit):
    page = visit()
    assert "14:30 CEST (12:30 UTC)" in page.text_content("#clock")


def test_timestamps_in_texts_are_in_site_zone(visit, board):
    moved = "moved 3 MWh of batch from 2026-07-01T22:30Z to 2026-07-02T03:00:00Z"
    board.changes = {"decision": {**decision(), "changes": [moved]}}
    text = visit().text_content("#limits")
    assert "from Thu 2 Jul, 00:30 to Thu 2 Jul, 05:00" in text.replace("Thu, ", "Thu ")


def test_times_of_another_day_show_the_date(visit, board):
    """Proves: in a week's plan Wed 1 Jul is today and needs no date, Thu 2 Jul does."""
    span = {"from": "2026-07-01T20:00:00Z", "to": "2026-07-02T20:00:00Z"}
    limit = {**decision()["binding"][0], **span}
    rows = [{**row, "worst_time": "2026-07-04T20:00:00Z"} for row in failures()["rows"]]
    board.changes = {
        "decision": {**decision(), "binding": [limit]},
        "failures": {**failures(), "rows": rows},
    }
    page = visit()
    assert re.search(r"22:00 . Thu 2 Jul, 22:00", page.text_content("#limits"))
    assert "Wed" not in page.text_content("#limits table")
    assert "at Sat 4 Jul, 22:00" in page.text_content("#failures")
    assert faults(page) == {}


def test_hold_take_over_and_release_by_click(visit, board):
    page = visit()
    assert page.text_content("#hold") == "HOLD rhine"
    hold(page)
    assert board.orders == [("hold", "", "", None)]
    listed = page.text_content("#holds li")
    assert listed.startswith("1 by not signed in (page) since")
    assert "until it is released: pending" in listed
    page.get_by_role("button", name="Take over HOLD 1").click()
    page.fill("#reason", "leak <b>in</b> pod 3")
    page.click("#confirm")
    assert "token" in page.text_content("#order-fault")
    page.fill("#token", "guessed")
    page.fill("#hours", "no number")
    page.click("#confirm")
    assert "above 0" in page.text_content("#order-fault")
    page.fill("#hours", "2,5")
    page.click("#confirm")
    sync_api.expect(page.locator("#order-fault")).to_contain_text("Not done", timeout=PATIENCE)
    page.fill("#token", OPERATOR_TOKEN)
    page.click("#confirm")
    sync_api.expect(page.locator("#holds")).to_contain_text("1 by eva", timeout=PATIENCE)
    assert "leak <b>in</b> pod 3" in page.text_content("#holds")
    page.get_by_role("button", name="Release HOLD 1").click()
    assert page.input_value("#token") == ""  # another person may use this computer next
    page.fill("#token", OPERATOR_TOKEN)
    page.keyboard.press("Enter")
    wait_for_word(page, "RUNNING")
    assert board.orders[1:] == [("replace", 1, "leak <b>in</b> pod 3", 2.5), ("release", 1)]
    assert page.locator("#holds").is_hidden()


def test_answer_of_a_hold_is_shown(visit, board):
    """Proves: a person reads that the HOLD is only in memory."""
    board.said = "the HOLD in force is not on disk: no space left"
    page = visit()
    hold(page)
    assert board.said in page.text_content("#answer")


@pytest.mark.parametrize("width", [1280, 390, 360])
def test_second_person_holds_beside_the_first(visit, board, width):
    """Proves: the page lists all HOLDs, each with its end, and HOLD stays open to others.

    Sensitivity: the button was hidden while a HOLD was in force.
    """
    person = Requester(channel="page")
    board.hold(requester=person, author="ana", reason="x" * 300, hours=2.0, is_self_ending=False)
    page = visit(width)
    hold(page)
    sync_api.expect(page.locator("#holds li")).to_have_count(2, timeout=PATIENCE)
    first, second = page.locator("#holds li").all_text_contents()
    assert "1 by ana" in first
    assert "then until it is released" in first
    assert second.startswith("2 by not signed in (page) since")
    assert ": pending" in second
    assert faults(page) == {}
    page.get_by_role("button", name="Take over HOLD 2").click()
    assert faults(page) == {}


def test_short_press_places_no_hold(visit, board):
    page = visit()
    page.click("#hold")
    sync_api.expect(page.locator("#answer")).to_contain_text("for one second", timeout=PATIENCE)
    page.locator("#hold").focus()
    page.keyboard.press("Enter")
    assert board.orders == []


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_hold_by_keyboard(visit, board, key):
    page = visit()
    page.locator("#hold").focus()
    page.keyboard.down(key)
    wait_for_word(page, "HOLD")
    page.keyboard.up(key)
    assert board.orders == [("hold", "", "", None)]


def test_hold_by_finger(visit, board):
    page = visit(390)
    point = {"pointerType": "touch", "button": 0, "isPrimary": True}
    page.dispatch_event("#hold", "pointerdown", point)
    wait_for_word(page, "HOLD")
    page.dispatch_event("#hold", "pointerup", point)
    assert board.orders == [("hold", "", "", None)]


@pytest.mark.parametrize("width", [1920, 1280, 390])
def test_bar_stays_in_its_place(visit, width):
    """Proves: the bar has 56 px, at the top or on a phone at the bottom, wherever one scrolls."""
    page = visit(width)
    for _ in range(2):
        box = page.locator(".bar").bounding_box()
        assert (box["height"], box["width"]) == (56, width)
        assert box["y"] == (0 if width > 860 else 900 - 56)
        page.keyboard.press("End")


def test_bar_counts_alarms_and_names_link_and_age(visit, board):
    page = visit()
    assert page.text_content("#counts") == "▲ 0 high◆ 1 medium● 0 low"
    assert plain(page, "#link") == "connected"
    assert plain(page, "#age") == "2 s"
    assert page.get_attribute("#word", "data-level") == "normal"
    board.changes = {"link": "silent", "data_age": {"newest_s": 400.0}}
    wait_for_word(page, "OFFLINE: plant")
    assert plain(page, "#age") == "7 min"
    levels = [page.get_attribute(f"#{name}", "data-level") for name in ("word", "link", "age")]
    assert levels == ["bad", "bad", "warn"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ended": ENDED}, "The HOLD by ana is over since Wed 1 Jul, 14:30"),
        ({"ended": ENDED}, "released by eva. Planning goes on with the next quarter-hour"),
        ({}, "The service itself holds: no sensor is believed."),
        ({"missing": "tank_level"}, "No plan for this quarter-hour: tank_level. Caps are frozen"),
        ({"decision": None, "missing": "tank_level"}, "No plan for this quarter-hour: tank_level."),
        ({"decision": None, "awaited": "tank_level"}, "and the first plan; tank_level."),
    ],
)
def test_end_of_a_hold_is_shown(visit, board, changes, text):
    held = {**decision(), "source": "hold", "reason": "no sensor is believed"}
    board.changes = {"decision": held, **changes}
    page = visit()
    sync_api.expect(page.locator("#why")).to_contain_text(text, timeout=PATIENCE)
    assert page.locator("#hold").is_visible()


def test_adjustments_within_the_interval_are_shown(visit, board):
    board.changes = {"guarded": "the meter shows 171.2 MW from the grid: jobs are capped by 9.0 MW"}
    page = visit()
    text = "Within the quarter-hour, the meter shows 171.2 MW from the grid: jobs are capped by 9.0"
    sync_api.expect(page.locator("#why")).to_contain_text(text, timeout=PATIENCE)


def test_each_softened_limit_has_a_line(visit, board):
    """Sensitivity: five limits with their times followed one another without breaks."""
    refused = (
        "the twin refuses the schedule\n  water: 3 intervals\n  chips: 4 intervals\nwork rests"
    )
    board.changes = {"missing": refused}
    page = visit()
    sync_api.expect(page.locator("#why")).to_contain_text("work rests", timeout=PATIENCE)
    lines = page.locator("#why").inner_text().splitlines()
    assert [line.split(":")[0] for line in lines[1:3]] == ["water", "chips"]


def test_charts_are_usable_by_keyboard(visit):
    page = visit()
    chart = page.locator("#price [role=slider]")
    chart.focus()
    page.keyboard.press("ArrowRight")
    assert "14:45 CEST" in chart.get_attribute("aria-valuetext")
    assert re.search(r"EUR/MWh", chart.get_attribute("aria-valuetext"))
    page.keyboard.press("Escape")
    assert "14:30 CEST" in chart.get_attribute("aria-valuetext")


def test_silent_service_is_shown_and_commands_reach_its_successor(visit, server, board):
    page = visit()
    server.stop()
    page.wait_for_selector("#silence:not([hidden])", timeout=PATIENCE)
    assert re.search(r"No answer from the service since \d\d:\d\d", page.text_content("#silence"))
    assert page.text_content("#word") == "NO ANSWER"
    assert faults(page) == {}
    with PageServer(board, port=urlsplit(server.url).port, token="another token"):
        page.wait_for_selector("#silence", state="hidden", timeout=PATIENCE)
        hold(page)
    assert board.orders == [("hold", "", "", None)]


def test_page_without_its_script_is_reloaded(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    refused = ["**/static/*.js", "**/health/live"]
    for path in refused:
        page.route(path, lambda request: request.abort())
    page.goto(server.url)
    wait_for_word(page, "NO ANSWER")
    assert "scripts of this page did not load" in page.text_content("#why")
    assert "gigatwin hold" in page.text_content("#why")
    assert page.is_disabled("#hold")  # it would have no effect
    assert faults(page) == {}
    for path in refused:
        page.unroute(path)
    sync_api.expect(page.locator("#site")).to_contain_text("rhine", timeout=PATIENCE)
    page.wait_for_selector("#work svg.plot")
    assert page.is_enabled("#hold")
    context.close()
