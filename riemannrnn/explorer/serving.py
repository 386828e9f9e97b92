"""The server of the explorer, on the loopback address and with Bokeh's check of the origin, until it is stopped."""

import asyncio
import socket
import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from logging import ERROR, LogRecord, getLogger
from pathlib import Path
from threading import Event, Thread
from traceback import walk_tb
from typing import Any
from weakref import WeakSet

import panel as pn
from panel.io.server import get_server
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketClosedError

from manifolds import WeightManifold
from riemannrnn.explorer import widgets
from riemannrnn.explorer.curves import OWN
from riemannrnn.explorer.dynamics_page import DynamicsPage
from riemannrnn.explorer.dynamics_scene import DynamicsState
from riemannrnn.explorer.page import Page
from riemannrnn.explorer.playground import Playground
from riemannrnn.explorer.playground_page import PlaygroundPage
from riemannrnn.explorer.presets import PRESETS
from riemannrnn.explorer.run_page import RunPage
from riemannrnn.explorer.run_scene import RunState
from riemannrnn.explorer.sources import Runs

LIFETIME: dict[str, int] = {"check_unused_sessions_milliseconds": 1000, "unused_session_lifetime_milliseconds": 2000}
"""Milliseconds after which the work for a closed window ends."""

OPEN: "WeakSet[Page]" = WeakSet()
"""The windows with work that must end before the process does."""

NO_RUN = (
    "<p class='lesson'>No run was given. Start the explorer with one: <code>riemannrnn explore RUN</code>. "
    "<a href='./'>Playground</a></p>"
)
"""The text of the run view without a run."""

ADDRESS, HOST = "127.0.0.1", "localhost"
"""The address of the server, and the host that Bokeh's check of the origin allows."""

LONGEST_PICTURE = 30
"""Most seconds that `stop` waits for a picture that is being drawn. No thread can start after the end of the process."""


class Explorer:
    """A running explorer, in its own thread.

    Attributes
    ----------
    address
        The address of the page to open.
    """

    def __init__(self, apps: dict[str, Any], first: str, port: int) -> None:
        self._apps, self._port = apps, port
        self._ready = Event()
        self._error: OSError | None = None
        self._loop: IOLoop | None = None
        self._thread = Thread(target=self._serve, name="riemannrnn-explorer", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        self.address = f"http://{HOST}:{self._port}/{first}"

    def _serve(self) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        self._loop = IOLoop.current()
        asyncio.get_event_loop().set_exception_handler(_unless_closed)
        try:
            _check_free(self._port)
            lifetime: Any = LIFETIME
            server: Any = get_server(self._apps, port=self._port, address=ADDRESS, loop=self._loop, **lifetime)
            self._port = int(server.port)
            server.start()
        except OSError as error:
            reason = f"cannot listen on port {self._port} ({error.strerror})"
            self._error = OSError(f"{reason}; choose another with --port, or leave it out")
            self._loop.close()
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
            self._thread.join(LONGEST_PICTURE)
            for page in list(OPEN):
                page.background.close(wait=True)

    def __repr__(self) -> str:
        return f"Explorer({self.address})"


def _unless_closed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report an error of the event loop, except errors about messages to a window that was closed."""
    if not isinstance(context.get("exception"), WebSocketClosedError):
        loop.default_exception_handler(context)


def _report(record: LogRecord) -> bool:
    """Tell whether an error is to be reported. Bokeh fails in an assertion where a window is closed while it is opened."""
    error = record.exc_info[1] if record.exc_info else None
    frames = [frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__)] if error else []
    return not (isinstance(error, AssertionError) and frames[-1:] == ["bokeh.server.connection"])


def _check_free(port: int) -> None:
    """Raise an error if the port is taken; Bokeh would leave a socket behind."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((ADDRESS, port))


def serve(manifold: WeightManifold | None, runs: Sequence[Path], port: int, browser: bool) -> Explorer:
    """Start the server; arguments as for `riemannrnn.explorer.explore`."""
    pn.extension(notifications=False)
    getLogger("bokeh.server.views.ws").setLevel(ERROR)  # it warns of each message to a window that was closed
    getLogger("tornado.application").addFilter(_report)

    found = Runs(runs)
    own = _checked(manifold)
    first = Playground() if own is None else _with_own(own)

    def playground() -> Any:
        query = _query()
        state, problems = Playground.from_query(query) if query else (first, [])
        return _opened(PlaygroundPage(state, problems, own))

    def run() -> Any:
        if not found.folders:
            return widgets.pane.HTML(NO_RUN)
        return _opened(RunPage(*RunState.from_query(_query()), found))

    def dynamics() -> Any:
        return _opened(DynamicsPage(*DynamicsState.from_query(_query()), found))

    apps = {"/": playground, "run": run, "dynamics": dynamics}
    explorer = Explorer(apps, "run" if found.folders else "", port)
    if browser:
        webbrowser.open(explorer.address)
    return explorer


def _checked(manifold: WeightManifold | None) -> WeightManifold | None:
    if manifold is not None and (len(manifold.shape) != 2 or manifold.shape[0] != manifold.shape[1]):
        raise ValueError(f"the manifold is of matrices of shape {manifold.shape}; pass one of square matrices, such as 2 × 2")
    return manifold


def _with_own(manifold: WeightManifold) -> Playground:
    """Return a state that shows the user's manifold on a network of its size."""
    n = manifold.shape[0]
    if n == 2:
        return replace(Playground(), lesson="", manifolds=("euclidean", OWN), rules=("dW1", f"descent/{OWN}"))
    return replace(PRESETS["large"].state, lesson="", units=n, manifolds=("euclidean", OWN), rules=("dW1", f"descent/{OWN}"))


def _opened(page: Page) -> Any:
    OPEN.add(page)
    pn.state.on_session_destroyed(page.close)
    return page.view()


def _query() -> str:
    """Return the query of the requested address."""
    document: Any = pn.state.curdoc
    request = document.session_context.request
    return str(request.uri or "").partition("?")[2]
