"""Addresses of servers with OpenAI's API, as people write them."""

import re
from urllib.parse import SplitResult

from penstock.core import addresses
from penstock.core.errors import ConfigError


def parts_of(url: str) -> SplitResult:
    """The pieces of an address that can be called. Raises `ConfigError`, which shows none of it."""
    if not url.isprintable() or " " in url:
        raise ConfigError("must hold no spaces and no control characters", param="url")
    if "?" in url or "#" in url:
        # What is asked of a server has its path added to this.
        raise ConfigError("must end with its path: no ? and no #", param="url")
    found = addresses.parts_of(url)
    if found is None:
        raise ConfigError(
            "must begin with http:// or https://, and name a host and at most a port", param="url"
        )
    return found


def is_official(url: str) -> bool:
    """Whether it is OpenAI's own."""
    return parts_of(url).hostname == "api.openai.com"


def versioned(url: str) -> str:
    """With the version that OpenAI's routes begin with, unless the path already has one."""
    url = url.rstrip("/")
    return url if re.search(r"/v\d+[a-z]*(/|$)", parts_of(url).path) else f"{url}/v1"


def unversioned(url: str) -> str:
    """Without it: where a server has what stands beside the API."""
    return re.sub(r"/v\d+[a-z]*/?$", "", url.rstrip("/"))
