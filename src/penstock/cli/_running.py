"""From a coroutine to an exit status: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Final, NoReturn

from penstock.cli import _output
from penstock.cli._advice import explain
from penstock.core.errors import GatewayError

DONE: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130


def run(work: Coroutine[object, object, int]) -> NoReturn:
    """Runs a command to its exit status. Errors of ours become one line that says what to do."""
    try:
        status = asyncio.run(work)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except GatewayError as error:
        fail(error)
    sys.exit(status)


def fail(error: GatewayError) -> NoReturn:
    """Says what went wrong, and ends."""
    _output.trouble(explain(error))
    sys.exit(FAILED)
