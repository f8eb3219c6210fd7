"""Which file of the Hugging Face hub is meant. Asks through `huggingface_hub`; blocks.

The library says what there is (names, sizes, digests), honours HF_ENDPOINT, HF_TOKEN and its own
sign-in, and makes headers and addresses. The bytes we fetch ourselves: its download reports to a
progress bar of its own, can't be stopped within a file, and keeps a second copy in a cache.
"""

import os
import re
from typing import Annotated, Final

import httpx2
import msgspec
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # lazily there
from msgspec import Meta

from penstock.core.errors import (
    EngineError,
    EngineProtocolError,
    EngineRefusedError,
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    UnknownModelError,
)
from penstock.stores._download import Source
from penstock.stores._names import HubName, part_of
from penstock.wire import json

_USUAL: Final = "Q4_K_M"
_SECONDS: Final = 20.0
_QUANT: Final = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d\w*|TQ\d_\d|MXFP4\w*|BF16|F16|F32))(?=\.gguf$)", re.IGNORECASE
)


class _File(msgspec.Struct, frozen=True):
    """The digest names files of ours: it is one, whatever a hub says."""

    path: str
    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _Model(msgspec.Struct, frozen=True):
    """A whole file, or all parts of one in their order; `path` is without the part's number."""

    path: str
    files: tuple[_File, ...]

    @property
    def quant(self) -> str:
        found = _QUANT.search(self.path)
        return found[1].upper() if found else ""

    @property
    def stem(self) -> str:
        return self.path.rpartition("/")[2][: -len(".gguf")]


def find(name: HubName) -> list[Source]:
    """What to fetch: one file, or all parts of one in their order.

    Raises `UnknownModelError` (it lists what there is) and `EngineError`.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    info = _info(name.repo, endpoint)
    files, revision = _files(info), str(info.sha) if info.sha else None
    models = _models(files)
    if not models:
        missing = "but parts of split ones" if files else "file"
        raise UnknownModelError(
            f"hf.co/{name.repo} has no GGUF {missing}; look for a repository with GGUF in its name",
            param="model",
        )
    chosen = _choose(name, models)
    return [
        Source(
            url=hf_hub_url(name.repo, file.path, revision=revision, endpoint=endpoint),
            headers=dict(build_hf_headers(library_name="penstock")),
            sha256=file.sha256,
            size=file.size,
            quant=chosen.quant,
        )
        for file in chosen.files
    ]


def _info(repo: str, endpoint: str | None) -> ModelInfo:
    try:
        return HfApi(endpoint=endpoint, library_name="penstock").model_info(
            repo, files_metadata=True, timeout=_SECONDS
        )
    except HFValidationError as error:
        raise InvalidRequestError(f"{repo!r} is no name of the hub", param="model") from error
    except (HfHubHTTPError, httpx2.HTTPError, OfflineModeIsEnabled) as error:
        raise _refused(repo, error) from error
    except OSError as error:
        raise EngineError(f"the hub's sign-in can't be read: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise EngineRefusedError("HF_TOKEN holds a character that no token has") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EngineProtocolError("the hub's answer makes no sense") from error


def _refused(repo: str, error: Exception) -> GatewayError:
    """Never the library's own text: it may hold addresses with signatures in them."""
    match error:
        case GatedRepoError():
            return EngineRefusedError(
                f"hf.co/{repo} is gated: accept its terms on its page, and set HF_TOKEN"
            )
        case RepositoryNotFoundError():
            return UnknownModelError(
                f"the hub has no hf.co/{repo}, or it is private: then set HF_TOKEN", param="model"
            )
        case HfHubHTTPError(response=response) if response is not None:
            status = response.status_code
            kind = EngineRefusedError if status in (401, 403) else EngineError
            hint = "; check HF_TOKEN" if status in (401, 403) else ""
            return kind(f"the hub answered {status} for hf.co/{repo}{hint}")
        case httpx2.TimeoutException():
            return EngineTimeoutError("the hub did not answer in time")
        case OfflineModeIsEnabled():
            return EngineError("the hub is not asked: HF_HUB_OFFLINE is set")
        case _:
            return EngineError("the hub can't be reached; check the network, and HF_ENDPOINT")


def _files(info: ModelInfo) -> list[_File]:
    found = []
    for file in info.siblings or []:
        name = str(file.rfilename)
        if not name.lower().endswith(".gguf") or "mmproj" in name.lower():
            continue
        # Only large file storage has a SHA-256; without one nothing could be verified.
        if file.lfs is not None:
            told = {"path": name, "size": file.lfs.size, "sha256": str(file.lfs.sha256).lower()}
            found.append(json.convert(told, _File, EngineProtocolError, "the hub's siblings"))
    return found


def _models(files: list[_File]) -> list[_Model]:
    """Whole files first; of split ones those whose parts are all there."""
    whole = [_Model(file.path, (file,)) for file in files if part_of(file.path) is None]
    split: dict[tuple[str, int], dict[int, _File]] = {}
    for file in files:
        if (part := part_of(file.path)) is not None:
            split.setdefault((part.name, part.parts), {})[part.part] = file
    return whole + [
        _Model(path, tuple(there[n] for n in range(1, parts + 1)))
        for (path, parts), there in split.items()
        if len(there) == parts
    ]


def _choose(name: HubName, models: list[_Model]) -> _Model:
    if not name.quant:
        usual = [model for model in models if model.quant == _USUAL]
        return (usual or models)[0]
    for model in models:
        if name.quant.upper().removesuffix(".GGUF") in (model.quant, model.stem.upper()):
            return model
    there = ", ".join(sorted({model.quant or model.stem for model in models}))
    raise UnknownModelError(
        f"hf.co/{name.repo} has no {name.quant}; there is: {there}", param="model"
    )
