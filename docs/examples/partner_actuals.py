# ruff: noqa: T201 - it prints for people
"""A grid partner: follow the measured power of a site, and ask for what it missed."""

import argparse
import json
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema  # pip install paho-mqtt joserfc jsonschema; nothing of gigatwin is needed
from joserfc import jwk, jws
from joserfc.registry import HeaderParameter, in_choices
from paho.mqtt.client import CallbackAPIVersion, Client

parser = argparse.ArgumentParser(description=__doc__)
for name in ("--broker", "--site", "--partner", "--keys"):
    parser.add_argument(name, required=True)
parser.add_argument("--since", type=int, help="ask for values from this time on, ms since 1970")
parser.add_argument("--until", type=int, help="end of that period, at most 25 h later")
parser.add_argument("--now", type=int, help="newest `created` of a simulated site")
parser.add_argument("--count", type=int, default=-1, help="end after so many values")
parser.add_argument("--tls", nargs=3, default=(), metavar=("CA", "CERTIFICATE", "KEY"))
args = parser.parse_args()
keys = json.loads(Path(args.keys).read_text())  # {"key": our private JWK, "site": its JWK set}
own, known = jwk.ECKey.import_key(keys["key"]), jwk.KeySet.import_key_set(keys["site"])
schemas = Path(__file__).parents[2] / "telemetry" / "schemas"
topic, url, newest = f"feed/v1/{args.partner}/{args.site}", urlsplit(args.broker), {}


def verified(payload, kind):
    """Return the content of a message of one kind; an exception if any check fails."""
    header = HeaderParameter("what was signed", in_choices([f"gigatwin-{kind}+jws"]), required=True)
    signed = jws.deserialize_compact(
        payload, known, registry=jws.JWSRegistry({"typ": header}, ["ES256"])
    )
    document = json.loads(signed.payload)
    schema = json.loads((schemas / f"{kind}-1.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    if (document["site"], document["partner"]) != (args.site, args.partner):
        raise ValueError("not for this partner")
    return document


def on_message(client, _, message):
    """Print a measured quarter-hour, unless a newer revision of it is known; or a notice."""
    try:
        if message.topic.endswith("/notice"):
            notice = verified(message.payload, "notice")
            print(f"notice: {notice['event']}, {notice['code']}: {notice['text']}", flush=True)
            return
        found = verified(message.payload, "actual")
    except Exception as error:  # an exception outside this function would end the connection
        print("refused:", repr(error), flush=True)
        return
    if found["revision"] <= newest.get(found["start"], 0) or args.count == 0:
        return
    newest[found["start"]] = found["revision"]
    start = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(found["start"] / 1000))
    values = {name: found[f"{name}_mw"] for name in ("measured", "scheduled", "baseline")}
    text = ", ".join(f"{name} {'missing' if mw is None else mw}" for name, mw in values.items())
    print(f"{start} revision {found['revision']}: {text} [MW]", flush=True)
    args.count -= 1
    if args.count == 0:
        client.disconnect()


def on_connect(client, *_):
    """Subscribe, then ask for the period that was missed."""
    client.subscribe([(f"{topic}/{end}", 1) for end in ("actual", "resent", "notice")])
    if args.since is not None:
        request = {"v": 1, "site": args.site, "partner": args.partner, "id": str(uuid.uuid4())}
        now = args.now or int(time.time() * 1000)
        request |= {"time": now, "want": "actual", "period_start": args.since}
        request["period_end"] = args.until or min(now, args.since + 90_000_000)
        header = {"alg": "ES256", "kid": own.thumbprint(), "typ": "gigatwin-request+jws"}
        text = jws.serialize_compact(header, json.dumps(request), own)
        client.publish(f"{topic}/request", text, qos=1)


client = Client(CallbackAPIVersion.VERSION2, client_id=f"{args.partner}-{args.site}-actuals")
client.on_connect, client.on_message = on_connect, on_message
client.username_pw_set(url.username, url.password)
client.tls_set(*args.tls) if url.scheme == "mqtts" else None
client.connect(url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883))
client.loop_forever()
