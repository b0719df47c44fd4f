"""Connections of clients: those that send no complete request are closed, so that they cannot keep others out."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS_FOR_HEADERS = 10.0


class PromptProtocol(H11Protocol):
    """Closes a connection whose first request does not begin in time; uvicorn closes those that are idle between requests."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.header_timer = self.loop.call_later(SECONDS_FOR_HEADERS, self._close_without_request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.header_timer.cancel()
        super().connection_lost(exc)

    def _close_without_request(self) -> None:
        if self.cycle is None:  # no request was complete up to its body
            self.transport.close()
