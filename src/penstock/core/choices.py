"""Several answers to one request, made by asking for each: what each asks, what all cost."""

from collections.abc import Sequence

import msgspec

from penstock.core.events import Timings, Usage
from penstock.core.request import Request


def alone(request: Request, choice: int) -> Request:
    """What asks for one of the choices. As in OpenAI's API a `seed` is that of the first, the next
    one's is one more, so that equal answers are no accident.
    """
    sampling = request.sampling
    if sampling.seed is not None:
        sampling = msgspec.structs.replace(sampling, seed=sampling.seed + choice)
    return msgspec.structs.replace(request, choices=1, sampling=sampling)


def summed(usages: Sequence[Usage]) -> Usage:
    """The prompt of the first, the answers of all. There is at least one."""
    first = usages[0]
    thought = [u.reasoning_tokens for u in usages if u.reasoning_tokens is not None]
    images = [u.images for u in usages if u.images is not None]
    return Usage(
        input_tokens=first.input_tokens,
        output_tokens=sum(u.output_tokens for u in usages),
        reasoning_tokens=sum(thought) if thought else None,
        cached_tokens=first.cached_tokens,
        images=sum(images) if images else None,
        timings=_timings([u.timings for u in usages if u.timings is not None]),
    )


def _timings(told: Sequence[Timings]) -> Timings | None:
    if not told:
        return None
    return Timings(
        load=max(t.load for t in told),
        prompt=told[0].prompt,
        generation=sum(t.generation for t in told),
    )
