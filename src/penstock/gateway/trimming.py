"""A session's history, as much of it as the model's context holds."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from penstock.core.errors import UnsupportedParameterError
from penstock.core.messages import Message, say
from penstock.core.request import Request
from penstock.core.sessions import Session, Turn
from penstock.gateway.budgets import PER_PROMPT, Budgets, Count, Room
from penstock.gateway.history import needed, prompt, spoken
from penstock.gateway.routing import Target
from penstock.gateway.runs import Attempt

LEAST_ANSWER: Final = 1


class Trimming:
    """Fits conversations. `usual_answer`: tokens to leave for one whose length nobody limits."""

    def __init__(self, budgets: Budgets, usual_answer: int) -> None:
        self._budgets = budgets
        self._usual_answer = usual_answer

    async def fit(self, session: Session, said: Sequence[Message], attempt: Attempt) -> Attempt:
        """The attempt with the session's system prompt, the newest turns that fit, and `said`.

        Raises `UnsupportedParameterError` (`param` is `message`) when what must stay is too long.
        """
        target = Target(attempt.binding, attempt.own or attempt.model)
        room = self._budgets.room(target)
        reserve = self._for_the_answer(attempt.request, room)
        budget = room.tokens - reserve
        *groups, fixed = needed(session.turns, said)
        system = (say("system", session.system),) if session.system else ()
        used = await self._fixed(target, (*system, *said), fixed, attempt.request)
        self._check(used, room, Target(attempt.binding, attempt.model))
        kept: list[Turn] = []
        for group in reversed(groups):
            more = [await self._turn(target, turn) for turn in group]
            grown = _sum([used, *more])
            if grown.tokens > budget:
                break
            used = grown
            kept = [*group, *kept]
        messages = (*system, *prompt([*kept, *fixed], said))
        left = room.tokens - used.tokens
        request = _limited(attempt.request, left if used.exact else max(left, reserve), room)
        return replace(attempt, request=replace(request, messages=messages))

    def _for_the_answer(self, request: Request, room: Room) -> int:
        """A client that asks for more tokens than are sensible must not lose its history."""
        asked = request.sampling.max_tokens
        if asked is None:
            return min(self._usual_answer, room.tokens // 4)
        return min(asked, room.tokens // 2)

    async def _fixed(
        self, target: Target, messages: Sequence[Message], turns: Sequence[Turn], request: Request
    ) -> Count:
        return _sum(
            [
                Count(PER_PROMPT, exact=True),
                *[await self._budgets.count(target, (message,)) for message in messages],
                *[await self._turn(target, turn) for turn in turns],
                await self._budgets.count_tools(target, request.tools),
            ]
        )

    async def _turn(self, target: Target, turn: Turn) -> Count:
        key = None if turn.state == "live" else f"turn {turn.stream}"
        return await self._budgets.count(target, spoken(turn), key)

    def _check(self, used: Count, room: Room, target: Target) -> None:
        # What is only estimated, or compared with an assumed context, is for the engine to refuse.
        if used.exact and room.known and used.tokens + LEAST_ANSWER > room.tokens:
            raise UnsupportedParameterError(
                f"message: with the system prompt it takes {used.tokens} tokens, and "
                f"{target.model!r} has a context of {room.tokens}",
                param="message",
            )


def _sum(counts: Sequence[Count]) -> Count:
    return Count(sum(c.tokens for c in counts), exact=all(c.exact for c in counts))


def _limited(request: Request, left: int, room: Room) -> Request:
    """Prompt and answer together never ask for more than there is: some servers refuse that."""
    sampling = request.sampling
    if not room.known or sampling.max_tokens is None or sampling.max_tokens <= left:
        return request
    return replace(request, sampling=replace(sampling, max_tokens=left))
