"""Sends usage with OpenMeter's own client, unchanged but for its endpoint and token. Tokens are powers of two, as in
send_cloudevents.py."""

import asyncio
import sys
from datetime import datetime, timezone

from corehttp.exceptions import ClientAuthenticationError, HttpResponseError
from openmeter import Client
from openmeter.aio import Client as AsyncClient
from openmeter.models import Event


def event(id, tokens, **more):
    own = {
        "id": id,
        "source": "my-app",
        "specversion": "1.0",
        "type": "llm.call",
        "subject": "acme",
        "time": datetime.now(timezone.utc),
        "data": {"tokens": tokens, "model": "gpt-4o", "type": "input"},
    }
    return Event(**{**own, **more})


def fails(send, kind, status):
    try:
        send()
    except HttpResponseError as error:
        assert isinstance(error, kind) and error.status_code == status, repr(error)
        return
    raise AssertionError(f"taken, but {status} was expected")


async def send_side_by_side(base, token):
    async with AsyncClient(endpoint=base, token=token) as client:
        await asyncio.gather(*(client.events.ingest_event(event(f"async-{n}", 1000)) for n in range(100)))


def main(base, token):
    client = Client(endpoint=base, token=token)
    one = event("one", 1)
    many = [event(f"many-{tokens}", tokens) for tokens in (2, 4, 8)]
    for _ in range(2):
        client.events.ingest_event(one)
        client.events.ingest_events(many)
        client.events.ingest_events_json(event("json", 16) if _ == 0 else [one, *many])
        client.events.ingest_event(
            {"id": "dict", "source": "my-app", "specversion": "1.0", "type": "llm.call", "subject": "acme", "data": {"tokens": 32}}
        )
        client.events.ingest_event(event("nothing else", 0, time=None, data=None, datacontenttype="application/json"))
    asyncio.run(send_side_by_side(base, token))

    bad = event("bad", 1, data={"usage": {"tokens": 1}})
    fails(lambda: client.events.ingest_event(bad), HttpResponseError, 400)
    fails(lambda: client.events.ingest_events([one, bad]), HttpResponseError, 400)
    stranger = Client(endpoint=base, token="another token")
    fails(lambda: stranger.events.ingest_event(one), ClientAuthenticationError, 401)


main(*sys.argv[1:3])
