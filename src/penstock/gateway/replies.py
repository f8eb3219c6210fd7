"""A whole reply from the log."""

from msgspec.structs import replace

from penstock.core.events import BEGINNING, StreamId
from penstock.core.folding import Folder, Reply, as_message
from penstock.core.messages import Message
from penstock.core.ports import Head, StreamLog
from penstock.core.request import Request


async def folded(log: StreamLog, stream: StreamId) -> Reply:
    """Everything that a stream says, once it has ended."""
    folder = Folder()
    reader = log.reader(stream, BEGINNING)
    try:
        while entries := await reader.take():
            for entry in entries:
                folder.feed(entry)
    finally:
        reader.close()
    return folder.reply()


async def continued(request: Request, before: Head, log: StreamLog) -> Request:
    """The request with an earlier one and its reply in front of its own messages.

    A system prompt of its own takes the place of the earlier one, at the beginning.
    """
    reply = await folded(log, StreamId(before.stream))
    system, messages = _without_system(request.messages)
    earlier, said = _without_system(before.request.messages)
    choice = reply.first
    if before.request.functions and choice.reason != "tool_calls":
        # The server answered these calls itself, and a call without its result confuses a model.
        choice = replace(choice, tool_calls=())
    if choice.text or choice.tool_calls:
        said = (*said, as_message(choice))
    return replace(request, messages=(*(system or earlier), *said, *messages))


def _without_system(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], ...]:
    """The system prompt that a conversation begins with, and the rest."""
    n = 1 if messages and messages[0].role == "system" else 0
    return messages[:n], messages[n:]
