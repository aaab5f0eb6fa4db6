"""Sends usage with the official CloudEvents SDK, 2.x line. Every event's tokens are another power of two, so that their sum
tells which of them were counted, and whether one was counted twice."""

import json
import sys
from datetime import datetime, timedelta, timezone

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from door import refuse, take

BATCH = {"content-type": "application/cloudevents-batch+json"}
BINARY = {"content-type": "application/json"}


def event(id, data, subject="acme", **attributes):
    own = {
        "id": id,
        "source": "https://shop.example/eu",
        "type": "llm.call",
        "subject": subject,
        "time": datetime.now(timezone.utc) - timedelta(seconds=5),
    }
    given = {name: value for name, value in {**own, **attributes}.items() if value is not None}
    return CloudEvent(given, data)


def structured(event):
    message = to_structured_event(event)
    return message.headers, message.body


def binary(event):
    """The SDK names no media type of data that has none; urllib would then name one of its own."""
    message = to_binary_event(event)
    return {**BINARY, **message.headers}, message.body


def batch(events):
    return BATCH, b"[" + b",".join(JSONFormat().write(event) for event in events) + b"]"


def main(base):
    take(base, *structured(event("structured", {"tokens": 1, "model": "small"})))
    take(base, *binary(event("binary", {"tokens": 2, "cached": True})))
    take(base, *structured(event("bytes", json.dumps({"tokens": 4}).encode())))
    take(base, *batch([event(f"batch-{tokens}", {"tokens": tokens}) for tokens in (8, 16, 32)]))
    take(base, *batch([]))
    take(base, *binary(event('100% "binary" ü', {"tokens": 64}, datacontenttype="application/vnd.shop+json")))
    traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "partitionkey": "7"}
    take(base, *structured(event("extended", {"tokens": 128}, **traced)))
    take(base, *structured(event('100% "structured" ü', {"tokens": "256"}, datacontenttype="text/json")))
    take(base, *structured(event("without data", None)))
    take(base, *binary(event("binary without data", None)))

    # Both modes must name the same customer.
    odd = 'Grün & "Söhne" 100%'
    take(base, *structured(event("odd-structured", {"tokens": 1}, odd)))
    take(base, *binary(event("odd-binary", {"tokens": 2}, odd)))

    nested = event("nested", {"usage": {"tokens": 1}})
    refuse(base, *structured(nested), 400, "INVALID_METADATA", "data.usage")
    refuse(base, *binary(nested), 400, "INVALID_METADATA", "data.usage")
    nameless = event("nameless", {"tokens": 1}, None)
    refuse(base, *structured(nameless), 422, "MISSING_FIELD", "subject")
    refuse(base, *binary(nameless), 422, "MISSING_FIELD", "subject")
    refuse(base, *batch([event("good", {"tokens": 1024}), nameless]), 422, "MISSING_FIELD", "subject")
    old = event("old", {"tokens": 1}, time=datetime.now(timezone.utc) - timedelta(hours=2))
    refuse(base, *binary(old), 400, "TIMESTAMP_TOO_OLD", "time")


main(sys.argv[1])
