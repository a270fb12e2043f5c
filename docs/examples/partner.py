# ruff: noqa: T201 - it prints for people
"""A grid partner: verify each schedule of a site, print it, and acknowledge it, signed."""

import argparse
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema  # pip install paho-mqtt joserfc jsonschema; nothing of gigatwin is needed
from joserfc import jwk, jws
from joserfc.registry import HeaderParameter, in_choices
from paho.mqtt.client import CallbackAPIVersion, Client

parser = argparse.ArgumentParser(description=__doc__)
for name in ("--broker", "--site", "--partner", "--keys"):
    parser.add_argument(name, required=True)
parser.add_argument("--count", type=int, default=-1, help="end when so many are taken")
parser.add_argument("--json", type=argparse.FileType("a"), default="/dev/null", help="answers")
parser.add_argument("--tls", nargs=3, default=(), metavar=("CA", "CERTIFICATE", "KEY"))
args = parser.parse_args()
keys = json.loads(Path(args.keys).read_text())  # {"key": our private JWK, "site": its JWK set}
own, known = jwk.ECKey.import_key(keys["key"]), jwk.KeySet.import_key_set(keys["site"])
schema = json.loads(next(Path(__file__).parents[2].glob("*/schemas/schedule-1.*")).read_text())
valid = jsonschema.Draft202012Validator(schema).is_valid
kind = HeaderParameter("what was signed", in_choices(["gigatwin-schedule+jws"]), required=True)
only = jws.JWSRegistry({"typ": kind}, ["ES256"])  # at most 128,000 characters
topic, url, newest = f"feed/v1/{args.partner}/{args.site}", urlsplit(args.broker), {}
words = {"A01": "accepted", "A51": "not newer", "A53": "not for us", "A57": "no longer valid"}
words["A94"] = "cannot be processed"


def judge(document):
    """Return the first reason to refuse a document, in the order of the page, or A01."""
    if not valid(document) or document["valid_until"] <= document["created"]:
        return "A94"
    start, end, rows = (document[name] for name in ("period_start", "period_end", "intervals"))
    places = [(row["position"], row["start"]) for row in rows if row["p10_mw"] <= row["p90_mw"]]
    if places != list(enumerate(range(start, end, 900_000), 1)):  # a quarter-hour each, no gap
        return "A94"
    if topic != "feed/v1/{partner}/{site}".format(**document):
        return "A53"
    if document["revision"] <= newest.get("revision", 0) and document != newest:
        return "A51"
    now = newest.get("created", 0) if document["meta"]["is_simulated"] else time.time() * 1000
    return "A01" if document["valid_until"] > now or document == newest else "A57"


def on_message(client, _, message):
    """Accept or refuse a document and answer; an unknown signer gets no answer."""
    global newest
    try:
        signed = jws.deserialize_compact(message.payload, known, registry=only)
        json.dumps(document := json.loads(signed.payload), allow_nan=False)  # NaN is no JSON
        answer = {"mrid": str(document["mrid"]), "revision": int(document["revision"])}
    except Exception as error:  # an exception outside this function would end the connection
        print("refused:", repr(error), flush=True)
        return
    code = judge(document)
    if code == "A01" and document != newest:  # it may arrive again: the same answer
        newest, args.count = document, args.count - 1
    mw = [row["scheduled_mw"] for row in document["intervals"]] if code == "A01" else []
    power_range = f": {min(mw)} to {max(mw)} MW" if mw else ""
    print(f"revision {answer['revision']} {words[code]}{power_range}", flush=True)
    answer |= {"v": 1, "site": args.site, "partner": args.partner, "time": int(time.time() * 1000)}
    answer |= {"code": min(code, "A02"), "reasons": [{"code": code, "text": words[code]}]}
    print(json.dumps(answer), file=args.json, flush=True)
    header = {"alg": "ES256", "kid": own.thumbprint(), "typ": "gigatwin-ack+jws"}
    client.publish(f"{topic}/ack", jws.serialize_compact(header, json.dumps(answer), own), qos=1)


client = Client(CallbackAPIVersion.VERSION2, client_id=f"{args.partner}-{args.site}")
client.on_connect = lambda *_: client.subscribe(f"{topic}/schedule", qos=1)
client.on_message = on_message
client.on_publish = lambda *_: client.disconnect() if args.count == 0 else None
client.username_pw_set(url.username, url.password)
client.tls_set(*args.tls) if url.scheme == "mqtts" else None
client.connect(url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883))
client.loop_forever()
