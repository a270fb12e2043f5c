"""Live values on the page of a running service."""

import json
import threading
import time
import urllib.request

import pytest

from telemetry.messages import topics
from telemetry.mqtt.client import Client
from tests.support.service_processes import DEADLINE, Ear

pytestmark = pytest.mark.slow

ON_SCREEN_S = 2.0
"""Time within which a reading is on the page's stream. [s]"""

METER = "grid_import_power"
READINGS_KW = (1234.0, 1345.0, 1456.0)


class Viewer:
    """A page that notes when each power came."""

    def __init__(self, url):
        self.powers, self._news = [], threading.Condition()
        self._answer = urllib.request.urlopen(url + "events", timeout=DEADLINE)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._answer:
            if line.startswith(b"data: "):
                values = {one["name"]: one["value"] for one in json.loads(line[6:])["values"]}
                with self._news:
                    self.powers.append((time.monotonic(), values["grid_power"]))
                    self._news.notify_all()

    def when(self, power):
        """Return when a power came first."""
        with self._news:
            assert self._news.wait_for(lambda: self._first(power), DEADLINE)
            return self._first(power)

    def _first(self, power):
        return next((at for at, seen in self.powers if seen == power), None)


def test_reading_is_on_the_page_at_once(stage):
    """Proves: a reading is on the stream within 2 s, without a decision."""
    stage.serve("--page", "0")
    with Ear(stage.broker, f"BMS/v1/{topics.PLANT_SENDER}/Value/#") as plant:
        stage.play(1000)
        stage.until_ready()
        stage.plant.kill()
        meter = [one for one in plant.heard if METER in one.topic][-1]
    stage.settle()
    client = Client(stage.broker, client_id="meter", clean_session=True)
    client.connect(DEADLINE)
    viewer = Viewer((stage.state / "page.url").read_text())
    for number, power in enumerate(READINGS_KW, 1):
        reading = meter.document
        reading |= {"value": power, "timestamp": reading["timestamp"] + number}
        begun = time.monotonic()
        client.publish(meter.topic, json.dumps(reading).encode(), qos=1)
        assert viewer.when(power / 1000) - begun < ON_SCREEN_S
    client.stop()
