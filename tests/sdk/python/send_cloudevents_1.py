"""Sends usage with the official CloudEvents SDK, 1.x line, whose conversions differ from those of 2.x: header values are not
percent-encoded, and data stands in every event. Tokens are powers of two, as in send_cloudevents.py."""

import sys
from datetime import datetime, timezone

from cloudevents.conversion import to_json
from cloudevents.http import CloudEvent, to_binary, to_structured

from door import refuse, take

BATCH = {"content-type": "application/cloudevents-batch+json"}
BINARY = {"content-type": "application/json"}


def event(id, data, **attributes):
    own = {"id": id, "source": "/shop", "type": "llm.call", "subject": "acme"}
    return CloudEvent({**own, **attributes}, data)


def binary(event):
    headers, body = to_binary(event)
    return {**BINARY, **headers}, body


def batch(events):
    return BATCH, b"[" + b",".join(to_json(event) for event in events) + b"]"


def main(base):
    take(base, *to_structured(event("structured", {"tokens": 1})))
    take(base, *binary(event("binary with spaces", {"tokens": 2})))
    take(base, *batch([event(f"batch-{tokens}", {"tokens": tokens}) for tokens in (4, 8, 16)]))
    take(base, *to_structured(event("bytes", b'{"tokens": 32}')))
    now = datetime.now(timezone.utc).isoformat()
    take(base, *to_structured(event("timed", {"tokens": 64}, time=now, datacontenttype="application/json")))
    take(base, *binary(event("without data", None)))
    refuse(base, *to_structured(event("text", "tokens: 1")), 422, "MALFORMED_EVENT", "data")
    refuse(base, *binary(event("percent", {"tokens": 1}, subject="100%")), 400, "INVALID_FIELD", "subject")


main(sys.argv[1])
