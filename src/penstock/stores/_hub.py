"""Which file of the Hugging Face hub is meant. Asks through `huggingface_hub`; blocks.

The library says what there is (names, sizes, digests), honours HF_ENDPOINT, HF_TOKEN and its own
sign-in, and makes headers and addresses. The bytes we fetch ourselves: its download reports to a
progress bar of its own, can't be stopped within a file, and keeps a second copy in a cache.
"""

import os
import re
from typing import Final

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
from penstock.stores._names import HubName

_USUAL: Final = "Q4_K_M"
_SECONDS: Final = 20.0
_SPLIT: Final = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_QUANT: Final = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d\w*|TQ\d_\d|MXFP4\w*|BF16|F16|F32))(?=\.gguf$)", re.IGNORECASE
)


class _File(msgspec.Struct, frozen=True):
    path: str
    size: int
    sha256: str

    @property
    def quant(self) -> str:
        found = _QUANT.search(self.path)
        return found[1].upper() if found else ""


def find(name: HubName) -> Source:
    """The file to fetch. Raises `UnknownModelError` (it lists what there is) and `EngineError`."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    info = _info(name.repo, endpoint)
    chosen = _choose(name, _files(info))
    url = hf_hub_url(name.repo, chosen.path, revision=info.sha, endpoint=endpoint)
    return Source(
        url=url,
        headers=dict(build_hf_headers(library_name="penstock")),
        sha256=chosen.sha256,
        size=chosen.size,
        quant=chosen.quant,
    )


def _info(repo: str, endpoint: str | None) -> ModelInfo:
    try:
        return HfApi(endpoint=endpoint, library_name="penstock").model_info(
            repo, files_metadata=True, timeout=_SECONDS
        )
    except HFValidationError as error:
        raise InvalidRequestError(f"{repo!r} is no name of the hub", param="model") from error
    except (HfHubHTTPError, httpx2.HTTPError, OfflineModeIsEnabled) as error:
        raise _refused(repo, error) from error
    except (KeyError, TypeError, ValueError) as error:
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
            return EngineError("the hub can't be reached")


def _files(info: ModelInfo) -> list[_File]:
    found = []
    for file in info.siblings or []:
        name = file.rfilename
        if not name.lower().endswith(".gguf") or "mmproj" in name.lower():
            continue
        # Only large file storage has a SHA-256; without one nothing could be verified.
        if file.lfs is not None:
            found.append(_File(name, file.lfs.size, file.lfs.sha256.lower()))
    return found


def _choose(name: HubName, files: list[_File]) -> _File:
    if not files:
        raise UnknownModelError(
            f"hf.co/{name.repo} has no GGUF file; look for a repository with GGUF in its name",
            param="model",
        )
    whole = [file for file in files if not _SPLIT.search(file.path)]
    for file in whole:
        if name.quant and name.quant.upper() in (file.quant, _stem(file).upper()):
            return file
    if not name.quant and whole:
        usual = [file for file in whole if file.quant == _USUAL]
        return (usual or whole)[0]
    there = ", ".join(sorted({file.quant or _stem(file) for file in whole}))
    parts = " (files that are split in parts can't be pulled)" if len(whole) < len(files) else ""
    asked = f" {name.quant}" if name.quant else " whole GGUF file"
    raise UnknownModelError(
        f"hf.co/{name.repo} has no{asked}; there is: {there or 'none'}{parts}", param="model"
    )


def _stem(file: _File) -> str:
    return file.path.rpartition("/")[2][: -len(".gguf")]
