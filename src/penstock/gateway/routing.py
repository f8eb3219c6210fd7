"""Which binding and model answer a request. Pure."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from penstock.config.schema import Defaults, Model
from penstock.core.errors import ModalityError, UnknownBindingError, UnknownModelError
from penstock.core.request import Modality, Request
from penstock.gateway.aliases import ANY

logger = logging.getLogger(__name__)


class Target(NamedTuple):
    """Who answers: a binding, and a model by the name that this binding knows."""

    binding: str
    model: str


class Offer(msgspec.Struct, frozen=True):
    """What a binding is known to offer. `models` may be empty: unknown, or not asked yet."""

    binding: str
    default: str | None
    models: tuple[str, ...]
    outputs: tuple[Modality, ...]

    def find(self, model: str) -> str | None:
        """The model's own name here. `m` and `m:latest` are the same, as Ollama's clients have
        it.
        """
        for name in (model, f"{model}:latest", model.removesuffix(":latest")):
            if name in self.models or name == self.default:
                return name
        return None

    @property
    def usual(self) -> str | None:
        """What answers when no model is named."""
        return self.default or (self.models[0] if self.models else None)


class Router:
    """The rules, in order: a named binding, a default, an alias, a model's name, `binding/model`;
    `binding/` is that binding's usual model.
    """

    def __init__(
        self, offers: Sequence[Offer], aliases: Mapping[str, Model], defaults: Defaults
    ) -> None:
        self._offers = {offer.binding: offer for offer in offers}
        self._aliases = aliases
        self._defaults = defaults

    def route(self, request: Request, *, waited: bool = False) -> tuple[Target, ...]:
        """Who is to answer, and who if that fails before anything was said.

        A fallback that nobody has now is left out; so is an alias' own binding, if there is a
        fallback and it was `waited` for bindings that were just starting.

        Raises `UnknownBindingError`, `UnknownModelError` (`param` names the field),
        `ModalityError`.
        """
        model = "" if request.model == "default" else request.model
        if request.binding:
            return (self._named(request.binding, model),)
        if not model:
            return (self._default(request.modality),)
        alias = self._aliases.get(model)
        if alias is None:
            return (self._model(model),)
        others = tuple(self._fallbacks(alias))
        try:
            return (self._named(alias.binding, alias.name), *others)
        except UnknownModelError:
            if waited and others:
                return others
            raise

    def _fallbacks(self, alias: Model) -> Iterator[Target]:
        for name in alias.fallback:
            other = self._aliases.get(name)
            try:
                if other is None:
                    yield self._model(name)
                else:
                    yield self._named(other.binding, other.name)
            except (UnknownModelError, UnknownBindingError) as error:
                logger.info("the fallback %r is left out: %s", name, error.message)

    def _named(self, binding: str, model: str) -> Target:
        offer = self._offers.get(binding)
        if offer is None:
            raise UnknownBindingError(f"no binding named {binding!r}", param="binding_name")
        if model:
            return Target(binding, offer.find(model) or model)
        if offer.usual is None:
            raise UnknownModelError(f"the binding {binding!r} has no model yet", param="model")
        return Target(binding, offer.usual)

    def _default(self, modality: Modality) -> Target:
        configured = {"text": self._defaults.ttt_binding, "image": self._defaults.tti_binding}
        binding = configured.get(modality)
        if binding is not None:
            return self._named(binding, "")
        able = [offer for offer in self._offers.values() if modality in offer.outputs]
        if not able:
            raise ModalityError(f"no binding here makes {modality}")
        for offer in able:
            if offer.usual is not None:
                return Target(offer.binding, offer.usual)
        raise UnknownModelError("no binding has a model yet", param="model")

    def _model(self, model: str) -> Target:
        for offer in self._offers.values():
            own = offer.find(model)
            if own is not None:
                return Target(offer.binding, own)
        binding, slash, rest = model.partition("/")
        if slash and (binding in self._offers or not rest):
            return self._named(binding, rest)
        raise UnknownModelError(f"no model named {model!r}; see /v1/models", param="model")

    def called(self, model: str) -> str:
        """The name as it is known here: `m` and `m:latest` are one also where `m` is an alias, but
        not where a binding has the very model.
        """
        if not model or model in self._aliases:
            return model
        for other in (f"{model}:latest", model.removesuffix(":latest")):
            known = other in self._aliases and other != ANY
            if known and all(model not in offer.models for offer in self._offers.values()):
                return other
        return model
