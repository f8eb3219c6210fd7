"""SHA-256 of model files: read on a thread, once, and never waited for long."""

import asyncio
import hashlib
import logging
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from penstock.core.errors import ConfigError
from penstock.engines import _llama_files
from penstock.engines._gguf import ModelFile

_log = logging.getLogger(__name__)
_PIECE: Final = 4 * 1024 * 1024
_MOMENT: Final = 0.25
UNASKED_BYTES: Final = 1024**3
"""A larger file is read for its digest only once it has been loaded, and so is in memory anyway: a
listing must not read a whole disk of models.
"""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Digests:
    """By path, size and time: a file that was changed is read again."""

    def __init__(self) -> None:
        self._known: dict[ModelFile, str | None] = {}
        self._over = threading.Event()
        self._thread: ThreadPoolExecutor | None = None

    def known(self, file: ModelFile) -> str | None:
        """64 hexadecimal digits, or `None` as long as nobody has read the file.

        A file that is named by 64 such digits is one of the model store, which names by content.
        For a model in parts: the SHA-256 of the parts' digests in their order, each as
        hexadecimal digits with a newline.
        """
        name = _llama_files.name(file.path)
        return name if _DIGEST.fullmatch(name) else self._known.get(file)

    async def look(self, files: Iterable[ModelFile]) -> None:
        """Has those read that are new, one after the other; waits for that, but only a moment."""
        new = [file for file in files if file not in self._known and self.known(file) is None]
        if not new or self._over.is_set():
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-llama-digest")
        self._known |= dict.fromkeys(new)
        loop = asyncio.get_running_loop()
        reading = [loop.run_in_executor(self._thread, self._read, file) for file in new]
        await asyncio.wait(reading, timeout=_MOMENT)

    def _read(self, file: ModelFile) -> None:
        try:
            found = [self._sha256(path) for path in _llama_files.parts(file.path)]
            now = _llama_files.whole(file.path)
        except (OSError, ConfigError) as error:
            _log.info("no digest of %s: %s", file.path.name, error)
            return
        # What was changed while it was read has no digest: the next listing has a new time of it.
        if now == file and all(found):
            joined = "".join(f"{one}\n" for one in found).encode()
            self._known[file] = found[0] if len(found) == 1 else hashlib.sha256(joined).hexdigest()

    def _sha256(self, path: Path) -> str | None:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                if self._over.is_set():
                    return None
                digest.update(piece)
        return digest.hexdigest()

    async def aclose(self) -> None:
        """Stops within a piece of a file."""
        self._over.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
