# ruff: noqa: T201 - it speaks to people
"""A grid partner: verify each schedule of a site, print it, and acknowledge it, signed."""

import argparse
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema  # pip install paho-mqtt joserfc jsonschema; nothing of gigatwin is needed
from joserfc import jwk, jws
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
topic, url, newest = f"feed/v1/{args.partner}/{args.site}", urlsplit(args.broker), {}
words = {"A01": "accepted", "A51": "not newer", "A53": "not for us", "A57": "no longer valid"}


def on_message(client, _, message):
    """Take or refuse a document and say so; what nobody known has signed gets no answer."""
    global newest
    try:
        signed = jws.deserialize_compact(message.payload, known, algorithms=["ES256"])
        jsonschema.validate(document := json.loads(signed.payload), schema)
    except Exception as error:  # one that left this function would end the connection
        print("refused:", str(error).splitlines()[0], flush=True)
        return
    now = newest.get("created", 0) if document["meta"]["is_simulated"] else time.time() * 1000
    code = "A01" if document["valid_until"] > now else "A57"
    code = code if document["revision"] > newest.get("revision", 0) or document == newest else "A51"
    code = code if topic == "feed/v1/{partner}/{site}".format(**document) else "A53"
    if code == "A01" and document != newest:  # a broker may send it again: the same answer
        newest, args.count = document, args.count - 1
    mw = sorted(row["scheduled_mw"] for row in document["intervals"])
    print(f"revision {document['revision']} {words[code]}: {mw[0]} to {mw[-1]} MW", flush=True)
    answer = {"v": 1, "site": args.site, "partner": args.partner, "time": int(time.time() * 1000)}
    answer |= {name: document[name] for name in ("mrid", "revision")}
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
