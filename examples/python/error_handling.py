"""What can go wrong, and what to do about it. A lost connection is not among it."""

import os

from penstock import Client, GatewayError, Timeouts
from penstock.core.errors import EngineTimeoutError, NotFoundError, UnavailableError

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
times = Timeouts(connect=5, first_token=60, between_tokens=30)


def ask(url: str, model: str) -> None:
    pieces = []
    try:
        with (
            Client(url, timeouts=times, patience=30) as client,
            client.stream("Hello!", model=model, max_tokens=20) as stream,
        ):
            for text in stream.text():
                pieces.append(text)
        print("answered:", "".join(pieces))
    except NotFoundError as error:
        print("no such model:", error.message)
    except EngineTimeoutError as error:
        print("too slow; so far:", "".join(pieces), error.message)
    except UnavailableError as error:
        print("not there:", error.message, "| again?", error.retryable, error.retry_after)
    except GatewayError as error:
        print(f"[{error.status} {error.code}]", error.message, "| field:", error.param)


ask(URL, "")
ask(URL, "no/such-model")
ask("http://127.0.0.1:9", "")
