"""HTTPS before a server that speaks HTTP only, as a hospital's gateway does it.

In a process of its own: a TLS connection that one thread closes while another still writes to it
writes into whatever file of that process has got its number meanwhile.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import ssl
from multiprocessing.connection import Connection
from pathlib import Path


class TlsFront:
    """Takes TLS on a port of its own and hands what it says to another port of this machine."""

    def __init__(self, certificate: Path, key: Path, port: int) -> None:
        start = multiprocessing.get_context("spawn")
        told, tells = start.Pipe(duplex=False)
        self._process = start.Process(
            target=_run, args=(certificate, key, port, tells), daemon=True
        )
        self._process.start()
        assert told.poll(60)
        self.port = int(told.recv())

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _run(certificate: Path, key: Path, port: int, tells: Connection) -> None:
    asyncio.run(_serve(certificate, key, port, tells))


async def _serve(certificate: Path, key: Path, port: int, tells: Connection) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, sink = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, sink), _pump(behind, writer))

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    tells.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()
