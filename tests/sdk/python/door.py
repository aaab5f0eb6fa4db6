"""One request to the agent, for SDKs that make messages and leave the sending to the application."""

import json
import urllib.error
import urllib.request

PATH = "/api/v1/events"


def post(base, headers, body):
    """Sends a message; answers its status and, when it was refused, the error."""
    request = urllib.request.Request(base + PATH, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read())


def take(base, headers, body):
    """Sends a message that must be taken, and sends it again as a client does that missed the answer."""
    for _ in range(2):
        assert post(base, headers, body) == (204, b""), post(base, headers, body)


def refuse(base, headers, body, status, code, field):
    """Sends a message that must be refused for one attribute."""
    found, error = post(base, headers, body)
    assert (found, error["code"], error["errors"][0]["field"]) == (status, code, field), (found, error)
