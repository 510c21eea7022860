"""Requests of legacy sessions that are being answered on this replica, so that they can be cancelled."""

from __future__ import annotations

import asyncio
from types import TracebackType

from msgspec import Raw

from libs.common.errors import InvalidRequest
from services.edge.visitor import CLIENT_CANCELLED

Key = tuple[str, bytes]


class Cancelled(Exception):
    """The client cancelled this request and expects no answer."""


class Flight:
    """Inside it, `Flights.cancel` cancels the work, which then comes out as `Cancelled`."""

    __slots__ = ("_board", "_cancelled", "_key", "_task")

    def __init__(self, board: dict[Key, Flight], key: Key) -> None:
        self._board = board
        self._key = key
        self._cancelled = False

    def __enter__(self) -> None:
        if self._key in self._board:
            raise InvalidRequest("a request with this id is being answered already in this session")
        self._task = asyncio.current_task()
        self._board[self._key] = self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._board[self._key]
        if self._cancelled and self._task is not None:
            others = self._task.uncancel()
            if kind is asyncio.CancelledError and not others:
                raise Cancelled from None

    def cancel(self) -> None:
        if not self._cancelled and self._task is not None:
            self._cancelled = True
            self._task.cancel(CLIENT_CANCELLED)


class Flights:
    """All flights of this replica. A session's ids are its own: two sessions may use the same."""

    def __init__(self) -> None:
        self._board: dict[Key, Flight] = {}

    def __len__(self) -> int:
        return len(self._board)

    def flight(self, session: str, request_id: Raw) -> Flight:
        """To be entered around the work. Raises `InvalidRequest` on entering if the id is in use."""
        return Flight(self._board, (session, bytes(request_id)))

    def cancel(self, session: str, request_id: Raw) -> bool:
        """Whether the request is here; `request_id` is the JSON of its id."""
        flight = self._board.get((session, bytes(request_id)))
        if flight is None:
            return False
        flight.cancel()
        return True
