"""Which pictures of the work in progress are shown, where fewer are wanted than come."""

from penstock.core.events import Progress


class Previews:
    """At most `wanted` of each of the `pictures` of a request, evenly over the work on it.

    The nth is the first that comes after n of `wanted` + 1 equal parts of the work, to the nearest
    step: an engine that makes just as many as are wanted has all of its own shown. Engines count
    the steps of all pictures together, or of each anew; which, is seen when the second begins.
    """

    def __init__(self, wanted: int, pictures: int) -> None:
        self.shown = 0
        self._wanted = wanted
        self._pictures = max(1, pictures)
        self._begun = 0
        self._at = 0

    def is_due(self, step: Progress) -> bool:
        """Whether the preview of this step is to be shown. To be called with every step."""
        if step.at and step.at <= self._begun:
            self._begun, self._pictures = 0, 1
        self._at = step.at
        if self.shown >= self._wanted:
            return False
        if not step.of:
            return True
        parts = (self._wanted + 1) * self._pictures
        return 2 * (step.at - self._begun) * parts >= 2 * step.of * (self.shown + 1) - parts

    def finished(self) -> None:
        """A picture is whole: what comes next is of another."""
        self.shown = 0
        if self._pictures > 1:
            self._begun = self._at
