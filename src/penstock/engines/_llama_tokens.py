"""Tokens of a loaded model, by its own tokenizer. All of it blocks."""

import msgspec

from penstock.core.errors import EngineError, InvalidRequestError
from penstock.core.queries import TokensAsk
from penstock.engines._llama_facts import Known
from penstock.engines._llama_server import LlamaServer
from penstock.wire import json


class _Tokens(msgspec.Struct, frozen=True):
    tokens: list[int]


class _Text(msgspec.Struct, frozen=True):
    content: str


def tokenize(server: LlamaServer, ask: TokensAsk, known: Known) -> list[int]:
    """The ids of a text, special tokens in it as such, as a prompt is read."""
    found = split(server, ask.text)
    if ask.add_bos and known.bos is not None:
        found.insert(0, known.bos)
    if ask.add_eos and known.eos is not None:
        found.append(known.eos)
    return found


def split(server: LlamaServer, text: str, *, special: bool = False) -> list[int]:
    """`special`: with the tokens that the model wants around every text."""
    body = json.encode({"content": text, "add_special": special})
    return json.decode(server.ask("/tokenize", body), _Tokens, EngineError).tokens


def detokenize(server: LlamaServer, ask: TokensAsk, known: Known) -> str:
    """The text of ids. Raises `InvalidRequestError` for one that is not of the vocabulary."""
    for n, token in enumerate(ask.tokens):
        # llama.cpp would answer with a fault of its own.
        if not 0 <= token < known.vocabulary:
            raise InvalidRequestError(
                f"{token} is no token of this model: its ids are 0 to {known.vocabulary - 1}",
                param=f"tokens[{n}]",
            )
    body = json.encode({"tokens": ask.tokens})
    return json.decode(server.ask("/detokenize", body), _Text, EngineError).content
