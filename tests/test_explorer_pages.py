"""The views without a browser: widgets, dragging, keys, saving, the command, and its errors."""

import gc
import importlib.util
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from types import SimpleNamespace

import pytest
from recorded_runs import record_run
from typer.testing import CliRunner

from manifolds import PullbackManifold, Resolvent
from riemannrnn.cli import app
from riemannrnn.explorer import MissingExtraError, explore

panel = pytest.importorskip("panel", reason="the extra explore is not installed")

from riemannrnn.explorer import playground_page  # noqa: E402
from riemannrnn.explorer.dynamics_page import DynamicsPage  # noqa: E402
from riemannrnn.explorer.dynamics_scene import DynamicsState  # noqa: E402
from riemannrnn.explorer.playground import Playground  # noqa: E402
from riemannrnn.explorer.playground_page import PlaygroundPage  # noqa: E402
from riemannrnn.explorer.presets import PRESETS  # noqa: E402
from riemannrnn.explorer.run_page import RunPage  # noqa: E402
from riemannrnn.explorer.run_scene import RunState  # noqa: E402
from riemannrnn.explorer.sources import Runs  # noqa: E402


@pytest.fixture
def page(monkeypatch):
    """Return a playground whose ground is coarse."""
    monkeypatch.setattr(playground_page, "PASSES", {True: ((3, None),), False: ((3, 20),)})
    made = PlaygroundPage(Playground(steps=1))
    made.view()
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return record_run(tmp_path_factory.mktemp("runs") / "one")


def test_widgets_change_the_state_and_follow_it(page):
    page.controls["manifolds"].value = ["monotone"]
    assert page.state.manifolds == ("monotone",)
    page.controls["rate"].value = 0.5
    assert page.state.rate == 0.5
    page.change(rate=0.25)
    assert page.controls["rate"].value == 0.25
    page.pressed("+")
    assert page.controls["rate"].value == 0.5


def test_steps_and_keys(page):
    page.pressed("s")
    page.step()
    assert page.state.steps == 3
    page.pressed("0")
    assert page.state.steps == 0
    x, y = page.state.start
    page.pressed("ArrowLeft")
    page.pressed("Shift+ArrowUp")
    assert page.state.start[0] < x
    assert page.state.start[1] == y
    assert page.state.end[1] > Playground().end[1]
    for _ in range(100):
        page.pressed("ArrowLeft")
    assert page.state.start[0] == -2.5, "it stays in the picture"


def test_a_lesson_begins_where_it_begins(page):
    page.controls["lesson"].value = "infinity"
    assert page.state == PRESETS["infinity"].state
    assert page.controls["rate"].value == 1.9


def mouse(x, y, **modifiers):
    return SimpleNamespace(x=x, y=y, modifiers=modifiers)


def test_points_are_dragged_and_placed(page):
    page.grab(mouse(0.75, -1.05))
    page.move(mouse(0.3, 0.1))
    assert page.state.start == (0.3, 0.1)
    page.move(mouse(1e9, 0.1))
    assert page.state.start == (2.0, 0.1)
    page.drop(mouse(2.0, 0.1))
    page.move(mouse(0.0, 0.0))
    assert page.state.start == (2.0, 0.1)
    page.grab(mouse(0.0, 0.0))
    page.move(mouse(0.1, 0.1))
    assert page.state == replace(page.state, start=(2.0, 0.1), end=(-1.0, 0.5)), "nothing is near"
    page.grab(mouse(-1.0, 0.5))
    page.move(mouse(-1.5, 0.5))
    assert page.state.end == (-1.5, 0.5)
    page.tap(mouse(0.5, 0.5))
    page.tap(mouse(-0.5, 0.5, shift=True))
    assert (page.state.start, page.state.end) == ((0.5, 0.5), (-0.5, 0.5))


def test_a_view_is_saved(page):
    assert page.saved_picture("png").getvalue().startswith(b"\x89PNG")
    assert b"<svg" in page.saved_picture("svg").getvalue()
    html = page.saved_page().getvalue().decode()
    assert "A singularity throws" in html
    assert "<script src=" not in html.replace("'", '"'), "it needs no network"
    assert 'href="http' not in html


def test_what_the_address_says_is_escaped():
    state, problems = Playground.from_query("?<b>x</b>=1")
    made = PlaygroundPage(state, problems)
    made.show()
    assert "<b>x" not in made._facts.object
    assert "&lt;b&gt;x" in made._facts.object


def test_memory_does_not_grow_over_interactions(page):
    def interact(count):
        for place in range(count):
            page.change(hurry=True, start=(0.5 - 0.001 * (place % 500), 0.2))

    def objects():
        gc.collect()
        return len(gc.get_objects())

    interact(20)
    before = objects()
    interact(30)
    assert objects() - before < 300


def test_runs_are_seen_and_moved_through(folder):
    made = RunPage(RunState(), [], Runs([folder]))
    made.view()
    assert len(made._canvases) == 8
    assert "12" in made.text()
    made.pressed("Home")
    assert made.state.step == 0
    made.pressed("ArrowRight")
    assert made.state.step == 1
    made.pressed("End")
    assert made.state.step == -1
    made.controls["metrics"].value = ["monotone"]
    assert made.state.metrics == ("monotone",)
    made.close()


def test_a_run_that_is_not_given_or_damaged_is_named(folder, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "path.h5").write_bytes(bytes(100))
    made = RunPage(*RunState.from_query("?runs=one,other&focus=../../etc"), Runs([folder, broken]))
    made.view()
    assert made.state.runs == ("one",)
    assert "was not given" in made._facts.object
    made.change(runs=())
    assert "broken" in made._facts.object
    assert "damaged" in made._facts.object
    assert len(made._canvases) == 8, "the other run is shown"
    made.close()


def test_dynamics_of_a_run(folder):
    made = DynamicsPage(DynamicsState(run="one", duration=5.0, starts=2, ratio=0.5), [], Runs([folder]))
    made.view()
    assert len(made._canvases) == 5
    assert "one after 12 steps" in made._facts.object
    made.pressed("ArrowRight")
    assert made.state.stimulus == 1
    made.close()


def test_without_panel_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("riemannrnn.explorer.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'riemannrnn\[explore\]'"):
        explore()
    done = CliRunner().invoke(app, ["explore", "--no-browser"])
    assert done.exit_code == 2
    assert "riemannrnn[explore]" in done.output


def test_the_command_refuses_folders_without_a_run(tmp_path):
    done = CliRunner().invoke(app, ["explore", str(tmp_path), "--no-browser"])
    assert done.exit_code == 2
    assert "path.h5" in done.output


def test_panel_is_imported_when_the_explorer_is_started():
    code = "import sys, riemannrnn.cli.explore, riemannrnn.explorer; assert not {'panel', 'bokeh'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert importlib.util.find_spec("panel")


def test_a_manifold_has_to_be_of_square_matrices():
    class Oblong:
        shape = (2, 3)

    with pytest.raises(ValueError, match="square"):
        explore(Oblong(), browser=False)


def handshake(port, origin):
    """Return the first line of the server's answer to a window with some origin."""
    lines = [
        "GET /ws HTTP/1.1", f"Host: localhost:{port}", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13", f"Origin: {origin}",
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection.recv(4096).split(b"\r\n")[0]


def addresses():
    """Return the addresses of this machine."""
    try:
        return {each[4][0] for each in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    except OSError:
        return set()


def test_the_server_listens_here_only_and_checks_the_origin():
    explorer = explore(PullbackManifold(Resolvent(), 2), browser=False)
    try:
        port = explorer.address.rsplit(":", 1)[1].strip("/")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/run", timeout=20) as page:
            assert page.status == 200
        assert b" 403 " in handshake(int(port), "http://evil.example")
        assert b" 403 " not in handshake(int(port), f"http://localhost:{port}")
        others = [each for each in addresses() if not each.startswith("127.")]
        for address in others:
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((address, int(port)), timeout=5)
        with pytest.raises(OSError, match="--port"):
            explore(port=int(port), browser=False)
    finally:
        explorer.stop()


def test_a_window_that_is_closed_while_it_opens_is_no_error():
    from logging import LogRecord

    from bokeh.server.connection import ServerConnection

    from riemannrnn.explorer.serving import _report

    def record(work):
        try:
            work()
        except AssertionError:
            return LogRecord("tornado.application", 40, "", 0, "Uncaught exception", (), sys.exc_info())

    def other():
        raise AssertionError

    connection = ServerConnection.__new__(ServerConnection)
    connection._session = None
    assert not _report(record(lambda: connection.session))
    assert _report(record(other))
    assert _report(LogRecord("tornado.application", 40, "", 0, "no exception", (), None))


def test_every_state_has_its_controls(page):
    assert set(page.controls) >= {
        "lesson",
        "rate",
        "rules",
        "manifolds",
        "radius",
        "network",
        "activation",
        "correlation",
        "seed",
    }
    page.become(replace(page.state, network="pair", activation="tanh", correlation=0.5))
    assert page.controls["network"].value == "pair"
    assert page.controls["correlation"].value == 0.5
