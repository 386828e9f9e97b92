"""The server of the explorer: on the loopback address, with Bokeh's check of the origin, until it is stopped."""

import asyncio
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import panel as pn
from panel.io.server import get_server
from tornado.ioloop import IOLoop

from manifolds import WeightManifold
from riemannrnn.explorer.page import Page
from riemannrnn.explorer.playground import Playground
from riemannrnn.explorer.playground_page import PlaygroundPage

ADDRESS, HOST = "127.0.0.1", "localhost"
"""Where the server listens, and the host that Bokeh's check of the origin allows."""


class Explorer:
    """A running explorer, on a thread of its own.

    Attributes
    ----------
    address
        Of the page to open.
    """

    def __init__(self, apps: dict[str, Any], first: str, port: int) -> None:
        self._apps, self._port = apps, port
        self._ready, self._error = Event(), None
        self._loop: IOLoop | None = None
        self._thread = Thread(target=self._serve, name="riemannrnn-explorer", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        self.address = f"http://{HOST}:{self._port}/{first}"

    def _serve(self) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        try:
            self._loop = IOLoop.current()
            server = get_server(self._apps, port=self._port, address=ADDRESS, loop=self._loop)
            self._port = int(server.port)
            server.start()
        except OSError as error:
            self._error = OSError(f"cannot listen on port {self._port} ({error.strerror}); choose another with --port, or leave it out")
            self._ready.set()
            return
        self._ready.set()
        try:
            self._loop.start()
        finally:
            server.stop()
            self._loop.close()

    def wait(self) -> None:
        """Wait until `stop` is called from another thread; Ctrl-C raises KeyboardInterrupt here."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def stop(self) -> None:
        """Stop the server."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.add_callback(self._loop.stop)
            self._thread.join(5)

    def __repr__(self) -> str:
        return f"Explorer({self.address})"


def serve(manifold: WeightManifold | None, runs: Sequence[Path], port: int, browser: bool) -> Explorer:
    """Start the server; arguments as for `riemannrnn.explorer.explore`."""
    pn.extension(notifications=False)

    def playground() -> Any:
        state, problems = Playground.from_query(_query())
        return _opened(PlaygroundPage(state, problems, manifold))

    explorer = Explorer({"/": playground}, "run" if runs else "", port)
    if browser:
        webbrowser.open(explorer.address)
    return explorer


def _opened(page: Page) -> Any:
    pn.state.on_session_destroyed(page.close)
    return page.view()


def _query() -> str:
    """Return the query of the address that was asked for."""
    context = pn.state.curdoc.session_context
    request = None if context is None else context.request
    return "" if request is None else str(request.uri or "").partition("?")[2]
