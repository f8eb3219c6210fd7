"""The store's models, as they are asked for and listed: a name for a file that a binding serves.

A binding whose engine serves the store's folder offers its files by their digests. Here they get
their names, and a request for one gets what the model was created with.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from penstock.core.cards import ModelCard
from penstock.core.request import Request, Sampling
from penstock.core.stores import ModelStore, StoredModel
from penstock.gateway import personalities
from penstock.gateway.bindings import Binding, Bindings
from penstock.gateway.routing import Offer, Target

_CONTENT: Final = re.compile(r"[0-9a-f]{64}")
_SAMPLING: Final = frozenset(Sampling.__struct_fields__) - {"max_tokens"}


class Stored:
    """What the store holds, as it was last looked at."""

    def __init__(self, store: ModelStore | None, bindings: Bindings) -> None:
        self.store = store
        self.version = 0
        self._bindings = bindings
        self._models: Sequence[StoredModel] = ()
        self._by_name: Mapping[str, StoredModel] = {}
        self._looked = -math.inf

    async def look(self, older_than: float = 0.0) -> None:
        """Looks again, unless that was done less than `older_than` seconds ago: another process may
        have pulled or deleted one.
        """
        now = time.monotonic()
        if self.store is None or now - self._looked < older_than:
            return
        self._looked = now
        models = await self.store.models()
        if models != self._models:
            self._models = models
            self._by_name = {model.name: model for model in models}
            await self._bindings.refresh(older_than=0.0)
            self.version += 1

    def offers(self) -> list[Offer]:
        """What routing may choose from: names instead of digests."""
        found = []
        for offer in self._bindings.offers():
            there = set(offer.models)
            own = [name for name in offer.models if not self._is_content(name)]
            named = [model.name for model in self._models if _stem(model) in there]
            found.append(msgspec.structs.replace(offer, models=(*own, *named)))
        return found

    def cards(self, binding: Binding) -> list[ModelCard]:
        """What a listing shows of a binding's models."""
        there = {card.name: card for card in binding.models}
        own = [card for card in binding.models if not self._is_content(card.name)]
        return own + [
            msgspec.structs.replace(
                there[_stem(model)],
                name=model.name,
                digest=model.digest,
                modified=model.modified,
                license=model.license or there[_stem(model)].license,
            )
            for model in self._models
            if _stem(model) in there
        ]

    def find(self, target: Target) -> StoredModel | None:
        """The stored model that a target is; `None` for a model of the binding's own."""
        model = self._by_name.get(target.model)
        if model is None:
            return None
        stem = _stem(model)
        offers = self._bindings.offers()
        served = any(o.binding == target.binding and stem in o.models for o in offers)
        return model if served else None

    def is_early(self, targets: Sequence[Target]) -> bool:
        """Whether one of them may be the store's, and its binding isn't up yet to say so."""
        if not self._by_name:
            return False
        starting = {b.name for b in self._bindings.visible if b.state == "starting"}
        return any(
            target.binding in starting
            and not self._by_name.keys().isdisjoint({target.model, f"{target.model}:latest"})
            for target in targets
        )

    def own(self, target: Target) -> str:
        """The name that the binding's engine knows."""
        model = self.find(target)
        return target.model if model is None else _stem(model)

    def name(self, own: str) -> str:
        """The other way round; of several names the first."""
        return next((model.name for model in self._models if _stem(model) == own), own)

    def applied(self, request: Request, target: Target) -> Request:
        """The request with what it does not say, and the model was created with."""
        model = self.find(target)
        if model is None or request.task != "generate":
            return request
        messages = request.messages
        said = any(message.role == "system" for message in messages)
        if model.system and not said and not request.raw:
            messages = personalities.add_system(messages, model.system)
        sampling = _filled(request.sampling, model.parameters)
        return msgspec.structs.replace(request, messages=messages, sampling=sampling)

    def _is_content(self, name: str) -> bool:
        return self.store is not None and _CONTENT.fullmatch(name) is not None


def _stem(model: StoredModel) -> str:
    """What an engine calls it: a content, or the parts of one, by its digest."""
    return model.digest


def _filled(
    sampling: Sampling, parameters: Mapping[str, bool | float | int | str | list[str]]
) -> Sampling:
    missing: dict[str, object] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in parameters.items()
        if name in _SAMPLING and getattr(sampling, name) in (None, ())
    }
    limit = parameters.get("num_predict")
    # Ollama's -1 and -2 mean: as long as it takes, and as the context is.
    if sampling.max_tokens is None and isinstance(limit, int) and limit > 0:
        missing["max_tokens"] = limit
    return msgspec.structs.replace(sampling, **missing) if missing else sampling
