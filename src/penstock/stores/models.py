"""GGUF models of one's own: pulled from the hub, taken from a file, uploaded, made of another.

A content is kept once, under its digest; a name is a manifest beside it. Several processes may use
one store: what one pulls the others offer.
"""

import asyncio
import logging
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final

from penstock.core.errors import (
    InternalError,
    InvalidRequestError,
    UnavailableError,
    UnknownModelError,
)
from penstock.core.events import Done, Event
from penstock.core.request import Fetch, Request
from penstock.core.stores import StoredModel
from penstock.stores import _creating, _folder, _names
from penstock.stores._download import Patience, free_bytes
from penstock.stores._folder import Folder
from penstock.stores._pulling import Batches, Check, Contents, Taken, say

_log = logging.getLogger(__name__)
MOST_BLOB_BYTES: Final = 256 * 1024**3


class Models:
    """`core.stores.ModelStore`.

    `check` raises `ConfigError` for a file that is no whole model. `embedded`: models that come
    with the package, by name: others can be made of them.
    """

    def __init__(
        self,
        root: Path,
        *,
        check: Check,
        embedded: Mapping[str, Path] | None = None,
        patience: Patience | None = None,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._folder = Folder(root)
        self._contents = Contents(self._folder, check, free, patience or Patience())
        self._embedded = dict(embedded or {})
        self.folder = str(self._folder.files)

    async def models(self) -> Sequence[StoredModel]:
        """All of them, by name. Cheap while nothing has changed."""
        # One look at a folder's time: a thread would cost more than it.
        return tuple(self._folder.models().values())

    async def delete(self, name: str) -> None:
        """Raises `UnknownModelError`. The content goes with its last name."""
        self._find(name)
        with _disk():
            if not await asyncio.to_thread(self._folder.delete, _names.full(name)):
                raise _unknown(name)
        await self.collect()

    async def collect(self) -> None:
        """Deletes contents and uploads without a name that are over a day old, and parts of
        downloads after two weeks; never what another process is about to name.
        """
        try:
            await asyncio.to_thread(self._folder.collect)
        except OSError as error:
            _log.warning("old files of the model store stay: %s", error.strerror)

    async def copy(self, source: str, destination: str) -> None:
        """Another name for the same. Raises `UnknownModelError`, `InvalidRequestError`."""
        model = self._find(source, "source")
        name = _names.full(destination, "destination")
        with _disk():
            await self._write(_creating.made(model, name, Fetch(), _now()))

    async def has_blob(self, sha256: str) -> bool:
        """Whether a file of this content is there."""
        digest = _folder.digest(sha256, "digest")
        with _disk():
            # Whoever asks is about to make a model of it.
            return await asyncio.to_thread(self._claim, digest)

    async def put_blob(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Keeps an upload, for a day if no model is made of it.

        Raises `InvalidRequestError` when its content is another, `UnavailableError` for a full
        disk.
        """
        digest = _folder.digest(sha256, "digest")
        await self._make()
        with _disk():
            await self._contents.put(digest, chunks, MOST_BLOB_BYTES)

    async def fetch(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Runs `pull` or `create`. Closed early it keeps what was fetched."""
        if _names.is_path(request.model):
            raise InvalidRequestError(
                "a client can't pull a file of the server: run `penstock pull PATH` there, or "
                "upload it and create a model of it",
                param="model",
            )
        name = _names.full(request.model)
        await self._make()
        work = request.work or Fetch()
        batches = self._create(name, work) if request.task == "create" else self._pull(name)
        with _disk():
            async with aclosing(batches):
                async for batch in batches:
                    yield batch
        yield [*say("success"), Done(reason="stop")]

    async def add(self, path: Path, name: str) -> AsyncGenerator[Sequence[Event]]:
        """Takes in a file of this machine; for its own user, never for a client.

        Raises `ConfigError` that says what is wrong with the file.
        """
        name = _names.full(name)
        await self._make()
        with _disk():
            async with aclosing(self._take_in(path, name)) as batches:
                async for batch in batches:
                    yield batch
        yield [*say("success"), Done(reason="stop")]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _claim(self, sha256: str) -> bool:
        return any(
            map(self._folder.claim, (self._folder.content(sha256), self._folder.blob(sha256)))
        )

    async def _make(self) -> None:
        await asyncio.to_thread(self._folder.make)
        await self.collect()

    async def _pull(self, name: str) -> Batches:
        wanted = _names.on_hub(name)
        if wanted is None:
            raise InvalidRequestError(
                f"{name.removesuffix(':latest')!r} is a name of Ollama's library, which can't be "
                "pulled from here: name a model of the hub as hf.co/ORG/REPO[:QUANT], or pull it "
                "with Ollama and use it through an `ollama` binding",
                param="model",
            )
        yield say("pulling manifest")
        sources = await self._contents.find(wanted)
        async with aclosing(self._contents.fetch(sources)) as batches:
            async for batch in batches:
                yield batch
        yield say("writing manifest")
        quant = sources[0].quant
        origin = f"hf.co/{wanted.repo}" + (f":{quant}" if quant else "")
        await self._write(self._described(name, [one.sha256 for one in sources], origin))

    async def _create(self, name: str, work: Fetch) -> Batches:
        _creating.check(work)
        if bool(work.source) == bool(work.files):
            raise InvalidRequestError("name either `from` or `files`", param="from")
        if work.files:
            base = await self._of_files(work.files)
        else:
            if _names.is_path(work.source):
                raise InvalidRequestError(
                    "a client can't name a file of the server: upload it, or run "
                    "`penstock pull PATH` there",
                    param="from",
                )
            source = _names.full(work.source, "from")
            brought = self._folder.models().get(source)
            if brought is None:
                async with aclosing(self._brought(source)) as found:
                    async for one in found:
                        if isinstance(one, StoredModel):
                            brought = one
                        else:
                            yield one
            base = self._find(source, "from") if brought is None else brought
        yield say(f"using already created layer sha256:{base.digest}")
        yield say("writing manifest")
        await self._write(_creating.made(base, name, work, _now()))

    async def _brought(self, name: str) -> AsyncGenerator[list[Event] | StoredModel]:
        """Brings in a source that is not there; yields it last, unless it has a name here now.

        One that comes with the package gets none: it is listed anyway, and its content is to go
        with the last model that was made of it.
        """
        short = name.removesuffix(":latest")
        if short in self._embedded:
            path = self._embedded[short]
            async with aclosing(self._contents.take_in(path)) as found:
                async for one in found:
                    if isinstance(one, Taken):
                        yield self._described(short, one.digests, path.name)
                    else:
                        yield one
        elif _names.on_hub(name) is not None:
            async with aclosing(self._pull(name)) as batches:
                async for batch in batches:
                    yield batch
        else:
            raise UnknownModelError(f"no model named {short!r} to make one of", param="from")

    async def _of_files(self, files: Mapping[str, str]) -> StoredModel:
        if len(files) != 1:
            raise InvalidRequestError("a model is made of one GGUF file", param="files")
        ((name, said),) = files.items()
        sha256 = _folder.digest(said, f"files.{name}")
        await self._contents.use_blob(sha256)
        return self._described("", [sha256], Path(name).name)

    async def _take_in(self, path: Path, name: str) -> Batches:
        digests: list[str] = []
        async with aclosing(self._contents.take_in(path)) as found:
            async for one in found:
                if isinstance(one, Taken):
                    digests = one.digests
                else:
                    yield one
        yield say("writing manifest")
        await self._write(self._described(name, digests, path.name))

    def _described(self, name: str, digests: Sequence[str], origin: str) -> StoredModel:
        """A model of contents that are there: of one, or of its parts in their order."""
        paths = self._folder.contents(digests)
        try:
            size = sum(path.stat().st_size for path in paths)
        except OSError as error:
            raise InternalError("the model was deleted meanwhile") from error
        return StoredModel(
            name=name,
            file=paths[0].name,
            digest=_folder.joined(digests),
            size=size,
            modified=_now(),
            origin=origin,
        )

    async def _write(self, model: StoredModel) -> None:
        await asyncio.to_thread(self._folder.write, model)

    def _find(self, name: str, param: str = "model") -> StoredModel:
        model = self._folder.models().get(_names.full(name, param))
        if model is None:
            raise _unknown(name, param)
        return model


@contextmanager
def _disk() -> Iterator[None]:
    """What the disk refuses (a full one, another user's) is said without its paths."""
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UnavailableError(f"the model store can't be used: {why}") from error


def _unknown(name: str, param: str = "model") -> UnknownModelError:
    return UnknownModelError(f"no model named {name!r} in the store", param=param)


def _now() -> int:
    return time.time_ns() // 1_000_000_000
