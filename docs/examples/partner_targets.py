# ruff: noqa: T201 - it prints for people
"""A grid partner: set a load target, signed, and wait for the power state that confirms it."""

import argparse
import json
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema  # pip install paho-mqtt joserfc jsonschema; nothing of gigatwin is needed
from joserfc import jwk, jws
from joserfc.registry import HeaderParameter, in_choices
from paho.mqtt.client import CallbackAPIVersion, Client

parser = argparse.ArgumentParser(description=__doc__)
for name in ("--broker", "--site", "--partner", "--keys"):
    parser.add_argument(name, required=True)
parser.add_argument("--mw", type=float, required=True, help="largest net import")
parser.add_argument("--start", help="as 2026-07-01T14:00:00Z; without it from now on")
parser.add_argument("--end", help="as 2026-07-01T16:00:00Z; without it until you set another")
parser.add_argument("--now", type=int, help="newest `created` of a simulated site")
parser.add_argument("--wait", type=float, default=60.0, help="longest wait for an answer, seconds")
parser.add_argument("--tls", nargs=3, default=(), metavar=("CA", "CERTIFICATE", "KEY"))
args = parser.parse_args()
keys = json.loads(Path(args.keys).read_text())  # {"key": our private JWK, "site": its JWK set}
own, known = jwk.ECKey.import_key(keys["key"]), jwk.KeySet.import_key_set(keys["site"])
schemas, url = Path(__file__).parents[2] / "telemetry" / "schemas", urlsplit(args.broker)
notices = f"feed/v1/{args.partner}/{args.site}/notice"
states = f"grid/v1/dsx-flex-agent/{args.site}/powerstate/status"
moment = (args.now or int(time.time() * 1000)) / 1000  # seconds since 1970
token, correlation, answers = str(uuid.uuid4()), str(uuid.uuid4()), {}


def load_target():
    """Return the event; only its data and the header of that are signed."""
    times = {"start_time": args.start, "end_time": args.end}
    target = {
        "interval": {name: text for name, text in times.items() if text},
        "feed_tags": [args.site],
        "load_constraint": {"value": args.mw, "unit": "megawatt"},
    }
    header = {"alg": "ES256", "kid": own.thumbprint(), "iat": moment, "jti": token}
    registry = jws.JWSRegistry(None, ["ES256"], strict_check_header=False)  # for iat, jti, aud
    content = json.dumps({"targets": [target]})
    now = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return {
        "specversion": "1.0.2",
        "id": str(uuid.uuid4()),
        "source": f"//grid/v1/isv/{args.partner}",
        "type": "grid.loadtarget.set.v1",
        "time": now.replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "subject": "loadtarget",
        "correlationid": correlation,
        "traceparent": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01",
        "data": jws.serialize_compact(
            header | {"aud": [args.site]}, content, own, registry=registry
        ),
    }


def verified(signed, registry, schema):
    """Return what the site has signed; an exception if signature or schema does not fit."""
    content = json.loads(jws.deserialize_compact(signed, known, registry=registry).payload)
    jsonschema.Draft202012Validator(schema).validate(content)
    return content


def answer_to_ours(topic, payload):
    """Return exit code and text if a message answers our load target, else None.

    A notice counts by the signed jti; a power state lists our id in what the site has signed.
    """
    if topic == notices:
        kind = HeaderParameter("kind", in_choices(["gigatwin-notice+jws"]), required=True)
        schema = json.loads((schemas / "notice-1.schema.json").read_text())
        notice = verified(payload, jws.JWSRegistry({"typ": kind}, ["ES256"]), schema)
        if notice.get("jti") != token:
            return None
        return 1, f"notice: {notice['event']}, {notice['code']}: {notice['text']}"
    schema = json.loads((schemas / "powerstate-1.schema.json").read_text())
    content = {"$ref": "#/$defs/State", "$defs": schema["$defs"]}
    feeds = verified(json.loads(payload)["data"], jws.JWSRegistry(None, ["ES256"]), content)
    feed = feeds["feeds"][args.site]
    if not any(one["correlation_id"] == correlation for one in feed["targets"]):
        return None
    load, comply = feed["calculated_load"]["value"], "yes" if feed["compliant"] else "not yet"
    return 0, f"confirmed: {args.mw} MW; planned now: {load} MW; compliant: {comply}"


def on_message(_, __, message):
    """Take an answer; print what cannot be verified."""
    try:
        if found := answer_to_ours(message.topic, message.payload):
            answers[found[0]] = found[1]
    except Exception as error:  # an exception outside this function would end the connection
        print("refused:", repr(error), flush=True)


def on_subscribe(client, *_):
    """Send the load target once its answers can arrive."""
    topic = f"grid/v1/isv/{args.partner}/loadtarget/set"
    client.publish(topic, json.dumps(load_target()), qos=1)


client = Client(CallbackAPIVersion.VERSION2, client_id=f"{args.partner}-{args.site}-targets")
client.on_connect = lambda *_: client.subscribe([(notices, 1), (states, 1)])
client.on_message, client.on_subscribe = on_message, on_subscribe
client.username_pw_set(url.username, url.password)
client.tls_set(*args.tls) if url.scheme == "mqtts" else None
client.connect(url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883))
is_refused, deadline = False, time.monotonic() + args.wait
client.loop_start()
while 0 not in answers and time.monotonic() < deadline:
    time.sleep(0.05)
    if 1 in answers and not is_refused:  # a power state, which outranks it, may be on its way
        is_refused, deadline = True, min(deadline, time.monotonic() + 2.0)
client.disconnect()
client.loop_stop()
code = min(answers, default=2)  # 0 is a confirmation, 1 a notice
print(answers.get(code, "no answer: check names, clock and contract"), flush=True)
sys.exit(code)
