"""Everything that HTTP can do to us becomes one of our errors."""

import inspect
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions

from penstock.core.errors import GatewayError, OverloadedError
from penstock.engines._said import unmasked
from penstock.engines._upstream_errors import our_errors, refusal, retry_after, translated


def exceptions() -> list[type[BaseException]]:
    found = {
        value
        for module in (aiohttp, client_exceptions, http_exceptions)
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, BaseException)
        and not issubclass(value, Warning)
    }
    return sorted(found, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", exceptions(), ids=lambda cls: cls.__name__)
def test_every_exception_of_aiohttp_becomes_ours(cls: type[BaseException]) -> None:
    error = cls.__new__(cls)
    assert "http://here" in translated(error, "http://here").message
    if issubclass(cls, aiohttp.ClientError | http_exceptions.HttpProcessingError | OSError):
        with pytest.raises(GatewayError), our_errors("http://here"):
            raise error


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (204, "engine_protocol"),
        (302, "engine_refused"),
        (400, "invalid_request"),
        (401, "engine_refused"),
        (402, "engine_refused"),
        (403, "engine_refused"),
        (404, "engine_refused"),
        (405, "engine_refused"),
        (408, "engine_timeout"),
        (413, "request_too_large"),
        (422, "invalid_request"),
        (429, "overloaded"),
        (500, "engine_failed"),
        (503, "engine_failed"),
        (504, "engine_timeout"),
        (599, "engine_failed"),
    ],
)
def test_statuses(status: int, code: str) -> None:
    error = refusal(status, {}, b'{"error":{"message":"because"}}', unmasked)
    assert error.code == code
    assert "because" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}',
        b'{"error":"model \\"x\\" not found, try pulling it first"}',
    ],
)
def test_an_unknown_model(body: bytes) -> None:
    error = refusal(404, {}, body, unmasked)
    assert (error.code, error.param) == ("unknown_model", "model")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"text"}', "text"),
        (b'{"message":"text"}', "text"),
        (b'{"detail":[{"msg":"a"},{"msg":"b"}]}', "a; b"),
        (b'[{"error":{"message":"text"}}]', "text"),
        (b"plain\n text\x1b[31m", "plain text [31m"),
        (b"<html><body>no</body></html>", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (b"{}", ""),
    ],
)
def test_the_upstreams_words(body: bytes, words: str) -> None:
    message = refusal(500, {}, body, unmasked).message
    assert message == "the upstream failed (HTTP 500)" + (f": {words}" if words else "")


def test_long_words_are_cut_after_the_secret_is_masked() -> None:
    body = b"x" * 595 + b"sk-secret" + b"y" * 1000
    message = refusal(500, {}, body, lambda text: text.replace("sk-secret", "***")).message
    assert "sk" not in message
    assert len(message) < 700


def test_retry_after() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100))
    assert retry_after("7") == 7
    assert 95 < (retry_after(later) or 0) <= 100
    assert retry_after("-3") == 0
    assert retry_after("1e12") == 86400
    # A date that is none where this machine is.
    for nothing in (None, "", "soon", "nan", "Fri, 31 Dec 9999 23:59:59 -0100"):
        assert retry_after(nothing) is None
    error = refusal(429, {"Retry-After": "2.5"}, b"", unmasked)
    assert isinstance(error, OverloadedError)
    assert error.retry_after == 2.5
