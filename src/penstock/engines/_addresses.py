"""Addresses of servers with OpenAI's API, as people write them."""

import re
from urllib.parse import urlsplit


def is_official(url: str) -> bool:
    """Whether it is OpenAI's own."""
    return urlsplit(url).hostname == "api.openai.com"


def versioned(url: str) -> str:
    """With the version that OpenAI's routes begin with, unless the path already has one."""
    url = url.rstrip("/")
    return url if re.search(r"/v\d+[a-z]*(/|$)", urlsplit(url).path) else f"{url}/v1"


def unversioned(url: str) -> str:
    """Without it: where a server has what stands beside the API."""
    return re.sub(r"/v\d+[a-z]*/?$", "", url.rstrip("/"))
