"""A whole reply from the log."""

from penstock.core.events import BEGINNING, StreamId
from penstock.core.folding import Folder, Reply
from penstock.core.ports import StreamLog


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
