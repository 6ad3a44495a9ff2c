"""HTTP/1.1 on raw sockets, so that a connection can be cut in the middle; also a CONNECT proxy that answers itself."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import h11

_MAX_READ = 65_536


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """A request as it came in; header names in lower case. `tunnel` is the host of the CONNECT it came through."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    tunnel: str | None = None


class Exchange:
    """The answering side of one request."""

    def __init__(self, connection: h11.Connection, writer: asyncio.StreamWriter) -> None:
        self._connection = connection
        self._writer = writer

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and the headers."""
        rows = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send(h11.Response(status_code=status, headers=rows))

    async def send(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._send(h11.Data(data=data))

    async def finish(self) -> None:
        """End the body properly."""
        await self._send(h11.EndOfMessage())

    async def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole response."""
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self.send(body)
        await self.finish()

    def abort(self) -> None:
        """Drop the connection without a goodbye."""
        self._writer.transport.abort()
        raise ConnectionAbortedError

    async def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        data = self._connection.send(event)
        if data:
            self._writer.write(data)
        await self._writer.drain()


Handler = Callable[[RawRequest, Exchange], Awaitable[None]]
TlsFor = Callable[[str], ssl.SSLContext | None]


class Connection:
    """One client connection, served until either side ends it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler, tls_for: TlsFor
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._tls_for = tls_for
        self._tunnel: str | None = None

    async def serve(self) -> None:
        """Answer requests one after another."""
        lost = (ConnectionError, ssl.SSLError, TimeoutError, h11.RemoteProtocolError, h11.LocalProtocolError)
        try:
            with contextlib.suppress(*lost):
                while await self._serve_one_protocol():
                    pass
        finally:
            self._writer.transport.abort()

    async def _serve_one_protocol(self) -> bool:
        connection = h11.Connection(h11.SERVER)
        while True:
            request = await self._read_request(connection)
            if request is None:
                return False
            if request.method == "CONNECT":
                return await self._open_tunnel(connection, request.target)
            exchange = Exchange(connection, self._writer)
            if not await self._answer(connection, request, exchange):
                return False
            if connection.our_state is h11.MUST_CLOSE or connection.their_state is h11.MUST_CLOSE:
                return False
            connection.start_next_cycle()

    async def _read_request(self, connection: h11.Connection) -> RawRequest | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    data = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                    self._writer.write(data or b"")
                connection.receive_data(await self._reader.read(_MAX_READ))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return RawRequest(
                    method=head.method.decode(),
                    target=head.target.decode(),
                    headers={name.decode().lower(): value.decode("latin-1") for name, value in head.headers},
                    body=bytes(body),
                    tunnel=self._tunnel,
                )
            else:
                return None

    async def _answer(self, connection: h11.Connection, request: RawRequest, exchange: Exchange) -> bool:
        """Run the handler and watch the line; False when the client went away first."""
        answering = asyncio.ensure_future(self._handler(request, exchange))
        watching = asyncio.ensure_future(self._reader.read(_MAX_READ))
        try:
            while True:
                await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
                if answering.done():
                    answering.result()
                    return True
                data = watching.result()
                if not data:
                    return False
                connection.receive_data(data)
                watching = asyncio.ensure_future(self._reader.read(_MAX_READ))
        finally:
            for task in (answering, watching):
                task.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)

    async def _open_tunnel(self, connection: h11.Connection, target: str) -> bool:
        host = target.rsplit(":", 1)[0]
        context = self._tls_for(host)
        if context is None:
            self._writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await self._writer.drain()
            return False
        self._writer.write(connection.send(h11.Response(status_code=200, headers=[])) or b"")
        await self._writer.drain()
        await self._writer.start_tls(context)
        # Before Python 3.12 the reader keeps the plain transport and would pause the wrong one.
        self._reader._transport = self._writer.transport
        self._tunnel = host
        return True
