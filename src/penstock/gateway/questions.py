"""What is asked without starting a run: listings, tokens, vectors, the model store."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from penstock.config.schema import Config
from penstock.core.cards import ModelCard, Personality
from penstock.core.errors import (
    GatewayError,
    InvalidRequestError,
    ModalityError,
    UnknownBindingError,
    UnknownModelError,
)
from penstock.core.ports import Describer, Embedder, Tokenizer
from penstock.core.principals import Principal
from penstock.core.queries import (
    BlobAsk,
    CopyAsk,
    EmbedAsk,
    Embedded,
    Found,
    LoadedModel,
    ModelAsk,
    ModelDetails,
    Query,
    TokensAsk,
)
from penstock.core.request import Request
from penstock.core.stores import ModelStore, StoredModel
from penstock.gateway.bindings import Binding, Bindings
from penstock.gateway.routing import Target
from penstock.gateway.stored import Stored

T = TypeVar("T")
STORE_OPERATIONS: Final = frozenset({"delete_model", "copy_model", "has_blob", "unload_model"})
"""They change what this machine keeps, for everybody. To load a model is no such thing: any
generation does it.
"""
_LISTINGS: Final = frozenset(
    {"models", "model", "binding_models", "model_files", "model_details", "loaded_models"}
)


class Questions:
    """Answers them. `version` is the gateway's; `functions` the names of the server's own."""

    def __init__(
        self,
        config: Config,
        bindings: Bindings,
        personalities: Mapping[str, Personality],
        stored: Stored,
        version: str,
    ) -> None:
        self._config = config
        self._bindings = bindings
        self._personalities = personalities
        self._stored = stored
        self._version = version
        self.functions: tuple[str, ...] = ()

    async def find(
        self, query: Query, principal: Principal, targets: Sequence[Target], *, keyed: bool
    ) -> Found:
        """`targets`: who is to answer, where the query names a model or binding to work with."""
        if query.operation in _LISTINGS:
            await self._bindings.refresh()
            await self._stored.look()
        found = self._listed(query, principal, keyed=keyed)
        more: dict[str, object] = {}
        match query.operation:
            case "model":
                more = {"models": self._with_aliases(query.name, found.models)}
            case "binding_models":
                more = {"models": self._models_of(query.name, principal)}
            case "tokenize" | "count_tokens" | "detokenize":
                more = await self._tokens(query, targets[0])
            case "embed":
                more = {"embedded": await self._embed(query, targets[0])}
            case "model_details":
                more = {"details": await self._details(_model_of(query, targets[0]), targets[0])}
            case "loaded_models":
                more = {"loaded": await self._loaded(principal)}
            case "load_model" | "unload_model":
                await self._load(query, targets[0])
            case "delete_model" | "copy_model" | "has_blob":
                more = {"exists": await self._managed(query)}
            case _:
                pass
        return msgspec.structs.replace(found, **more)

    def _listed(self, query: Query, principal: Principal, *, keyed: bool) -> Found:
        defaults = self._config.defaults
        return Found(
            query=query,
            version=self._version,
            key_required=keyed,
            models=tuple(c for c in self.model_cards() if principal.may_use(c.name)),
            bindings=tuple(binding.card for binding in self._bindings.visible),
            personalities=tuple(self._personalities.values()),
            functions=self.functions,
            defaults={name: getattr(defaults, name) for name in defaults.__struct_fields__},
            now=time.time_ns() // 1_000_000_000,
        )

    # ── models ───────────────────────────────────────────────────────────────────────────────────

    def model_cards(self) -> tuple[ModelCard, ...]:
        """All that can be asked for: aliases first, then every binding's own."""
        cards = {
            (binding.name, card.name): msgspec.structs.replace(card, binding=binding.name)
            for binding in self._bindings.visible
            for card in self._cards(binding)
        }
        offers = {offer.binding: offer for offer in self._stored.offers()}
        aliases = []
        for name, alias in self._config.models.items():
            if name == "*":
                continue
            offer = offers.get(alias.binding)
            own = alias.name
            if offer is not None:
                own = (offer.find(own) or own) if own else (offer.usual or "")
            empty = ModelCard(name=name, binding=alias.binding)
            card = cards.get((alias.binding, own), empty)
            aliases.append(msgspec.structs.replace(card, name=name, alias_of=own or None))
        return (*aliases, *cards.values())

    def _one(self, name: str, cards: Sequence[ModelCard]) -> ModelCard:
        for known in name, name.removesuffix(":latest"):
            for card in cards:
                if known in _names(card):
                    return card
        raise UnknownModelError(f"no model named {name!r}", param="model")

    def _with_aliases(self, name: str, cards: Sequence[ModelCard]) -> tuple[ModelCard, ...]:
        """The model that was asked for, and after it the aliases that stand for it."""
        found = self._one(name, cards)
        aliases = [
            card for card in cards if (card.binding, card.alias_of) == (found.binding, found.name)
        ]
        return (found, *aliases)

    def _models_of(self, binding: str, principal: Principal) -> tuple[ModelCard, ...]:
        for known in self._bindings.visible:
            if known.name == binding:
                return tuple(
                    msgspec.structs.replace(card, binding=binding)
                    for card in self._cards(known)
                    if principal.may_use(card.name)
                )
        raise UnknownBindingError(f"no binding named {binding!r}", param="binding")

    async def _details(self, name: str, target: Target) -> ModelDetails:
        engine = await self._bindings.ready(target.binding)
        stored = self._stored.find(target)
        if isinstance(engine, Describer):
            details = await engine.describe(self._stored.own(target))
        else:
            details = ModelDetails(card=self._one(target.model, self.model_cards()))
        card = msgspec.structs.replace(details.card, name=name, binding=target.binding)
        alias = self._config.models.get(name)
        system = stored.system if stored is not None else (alias.system if alias else None)
        return msgspec.structs.replace(
            details,
            card=card,
            system=system or details.system,
            template=(stored.template if stored else "") or details.template,
            license=(stored.license if stored else "") or details.license,
            parameters=_parameters(stored) if stored else details.parameters,
        )

    def _cards(self, binding: Binding) -> Sequence[ModelCard]:
        return self._stored.cards(binding) if binding.models else cards_of(binding)

    async def _loaded(self, principal: Principal) -> tuple[LoadedModel, ...]:
        found: list[LoadedModel] = []
        for binding in self._bindings.visible:
            if binding.state != "up" or not isinstance(binding.engine, Describer):
                continue
            try:
                there = await binding.engine.loaded()
            except GatewayError:
                continue  # It has just gone down. What the others have in memory is there.
            for loaded in there:
                name = self._stored.name(loaded.card.name)
                card = msgspec.structs.replace(loaded.card, name=name, binding=binding.name)
                if principal.may_use(name):
                    found.append(msgspec.structs.replace(loaded, card=card))
        return tuple(found)

    async def _load(self, query: Query, target: Target) -> None:
        engine = await self._bindings.ready(target.binding)
        if not isinstance(engine, Describer):
            return  # Somebody else's server decides what it keeps in memory.
        if query.operation == "load_model":
            await engine.load(self._stored.own(target))
        else:
            await engine.unload(self._stored.own(target))

    # ── tokens and vectors ───────────────────────────────────────────────────────────────────────

    async def _tokens(self, query: Query, target: Target) -> dict[str, object]:
        ask = _asked(query, TokensAsk)
        ask = msgspec.structs.replace(ask, model=self._stored.own(target))
        engine = await self._bindings.ready(target.binding)
        if not isinstance(engine, Tokenizer):
            raise ModalityError(f"the binding {target.binding!r} has no tokenizer")
        if query.operation == "detokenize":
            return {"text": await engine.detokenize(ask)}
        return {"tokens": tuple(await engine.tokenize(ask))}

    async def _embed(self, query: Query, target: Target) -> Embedded:
        own = self._stored.own(target)
        ask = msgspec.structs.replace(_asked(query, EmbedAsk), model=own)
        engine = await self._bindings.ready(target.binding)
        if not isinstance(engine, Embedder):
            raise ModalityError(f"the binding {target.binding!r} makes no embeddings")
        embedded = await engine.embed(ask)
        model = embedded.model or target.model
        return msgspec.structs.replace(embedded, model=model, binding=target.binding)

    # ── the model store ──────────────────────────────────────────────────────────────────────────

    async def _managed(self, query: Query) -> bool:
        store = self.store
        match query.operation:
            case "delete_model":
                await store.delete(query.name)
                await self._changed()
            case "copy_model":
                ask = _asked(query, CopyAsk)
                await store.copy(ask.source, ask.destination)
                await self._changed()
            case _:
                return await store.has_blob(_asked(query, BlobAsk).sha256)
        return True

    async def _changed(self) -> None:
        await self._bindings.refresh(older_than=0.0)
        await self._stored.look()

    async def upload(self, query: Query, chunks: AsyncIterator[bytes]) -> Found:
        """Keeps a file by its content."""
        await self.store.put_blob(_asked(query, BlobAsk).sha256, chunks)
        return Found(query=query, exists=True)

    @property
    def store(self) -> ModelStore:
        """Raises `ModalityError` where this gateway keeps no models."""
        if self._stored.store is None:
            raise ModalityError("this gateway keeps no models of its own")
        return self._stored.store


def work_of(query: Query) -> Request | None:
    """What routing is to find an engine for, if the query needs one."""
    match query.ask:
        case (
            TokensAsk(model=model, binding=binding)
            | EmbedAsk(model=model, binding=binding)
            | ModelAsk(model=model, binding=binding)
        ):
            return Request(model=model, binding=binding)
        case _:
            named = query.operation in {"model_details", "load_model", "unload_model"}
            return Request(model=query.name) if named else None


def _asked(query: Query, kind: type[T]) -> T:
    if not isinstance(query.ask, kind):
        raise InvalidRequestError(f"{query.operation} needs more than a name")
    return query.ask


def _model_of(query: Query, target: Target) -> str:
    if not isinstance(query.ask, ModelAsk):
        return query.name
    return query.ask.model or target.model


def _parameters(stored: StoredModel) -> dict[str, float | int | str | tuple[str, ...]]:
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.parameters.items()
    }


def cards_of(binding: Binding) -> Sequence[ModelCard]:
    """What a binding offers; of one that lists nothing, its configured model."""
    if binding.models or not binding.model:
        return binding.models
    return (ModelCard(name=binding.model, inputs=binding.inputs, outputs=binding.engine.outputs),)


def _names(card: ModelCard) -> tuple[str, ...]:
    short = card.name.removesuffix(":latest")
    return card.name, f"{card.binding}/{card.name}", short, f"{card.binding}/{short}"
