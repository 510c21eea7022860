"""The two kinds of counters, in memory. `take.lua` is the same arithmetic; every change belongs into both."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from services.router.limits.limit import Limit, Reading


class Log:
    """When calls were let through: an exact sliding window.

    Entries are a stamp and how many calls there were up to it, oldest first; what has left the window only
    lives on in the count it leaves behind. Each read expects `forget` to have been called at the same time.
    """

    __slots__ = ("_base", "_counts", "_head", "_stamps")

    def __init__(self) -> None:
        self._stamps = array("q")
        self._counts = array("q")
        self._head = 0
        self._base = 0

    def wait(self, limit: Limit, now: int) -> int:
        """0 if there is room, else when there will be."""
        self._forget(now - limit.window)
        excess = self._used() - limit.limit
        if excess < 0:
            return 0
        leaves = bisect_left(self._counts, self._base + excess + 1, self._head)
        return self._stamps[leaves] + limit.window - now

    def add(self, limit: Limit, now: int) -> None:
        """Count a call that was let through."""
        stamp = -(-now // limit.step) * limit.step
        count = self._counts[-1] if self._counts else 0
        if self._stamps and stamp <= self._stamps[-1]:
            self._counts[-1] = count + 1
        else:
            self._stamps.append(stamp)
            self._counts.append(count + 1)

    def reading(self, limit: Limit, now: int, wait: int) -> Reading:
        remaining = max(0, limit.limit - self._used())
        return Reading(wait, remaining, self.expires(limit) - now if self._used() else 0)

    def expires(self, limit: Limit) -> int:
        """When nothing will be left to remember."""
        return self._stamps[-1] + limit.window if self._stamps else 0

    def _used(self) -> int:
        return self._counts[-1] - self._base if self._counts else 0

    def _forget(self, horizon: int) -> None:
        stamps, head = self._stamps, self._head
        if head == len(stamps) or stamps[head] > horizon:
            return
        head = bisect_right(stamps, horizon, head)
        self._base = self._counts[head - 1]
        if head * 2 > len(stamps):
            del self._stamps[:head], self._counts[:head]
            head = 0
        self._head = head
        if not self._stamps:
            self._base = 0


class Pace:
    """When the next call is due, if all come evenly: the generic cell rate algorithm."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0

    def wait(self, limit: Limit, now: int) -> int:
        """0 if the call does not come too early, else when it would not."""
        return max(0, max(self._due, now) + limit.step - limit.burst * limit.step - now)

    def add(self, limit: Limit, now: int) -> None:
        """Count a call that was let through."""
        self._due = max(self._due, now) + limit.step

    def reading(self, limit: Limit, now: int, wait: int) -> Reading:
        ahead = max(0, self._due - now)
        return Reading(wait, max(0, limit.burst * limit.step - ahead) // limit.step, ahead)

    def expires(self, limit: Limit) -> int:
        """When nothing will be left to remember."""
        return self._due


Counter = Log | Pace


def counter(limit: Limit) -> Counter:
    """A new counter of the kind that the limit asks for."""
    return Pace() if limit.burst else Log()
