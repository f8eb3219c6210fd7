"""Who may decode now, and who waits at which place. A line, first come first served; no I/O."""

import asyncio
from collections.abc import Callable

from penstock.core.errors import OverloadedError


class Slots:
    """So many at a time, so many waiting behind them.

    `on_idle` is called whenever the last one has left. Everything happens on one loop.
    """

    def __init__(self, count: int, max_waiting: int, on_idle: Callable[[], None]) -> None:
        self._free = count
        self._count = count
        self._max_waiting = max_waiting
        self._line: list[Ticket] = []
        self._on_idle = on_idle

    @property
    def idle(self) -> bool:
        """Whether nobody is inside and nobody waits."""
        return self._free == self._count and not self._line

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def enter(self) -> "Ticket":
        """A ticket, perhaps with a place to wait for. Raises `OverloadedError` when all are taken.

        Whoever gets one must `leave` with it in the end, inside or not.
        """
        ticket = Ticket(self)
        if self._free:
            self._free -= 1
            return ticket
        if len(self._line) >= self._max_waiting:
            raise OverloadedError(
                f"{self._count} runs and {self._max_waiting} waiting ones are all that this model "
                "takes",
                retry_after=1.0,
            )
        self._line.append(ticket)
        ticket.place = len(self._line)
        return ticket

    def give_back(self, ticket: "Ticket") -> None:
        """A ticket's own way out."""
        if ticket.place:
            self._line.remove(ticket)
        elif self._line:
            self._line.pop(0).move(0)
        else:
            self._free += 1
        for place, waiting in enumerate(self._line, 1):
            waiting.move(place)
        if self.idle:
            self._on_idle()


class Ticket:
    """One who is inside (`place` 0) or waits (`place` counts from 1)."""

    def __init__(self, slots: Slots) -> None:
        self.place = 0
        self._slots: Slots | None = slots
        self._moved: asyncio.Future[None] | None = None

    async def moved(self, since: int) -> None:
        """Waits until `place` is another than `since`."""
        if self.place != since:
            return
        self._moved = asyncio.get_running_loop().create_future()
        await self._moved

    def leave(self) -> None:
        """Lets the next one in. A second time it does nothing."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.give_back(self)

    def move(self, place: int) -> None:
        """Says where it stands now."""
        if place == self.place:
            return
        self.place = place
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)
