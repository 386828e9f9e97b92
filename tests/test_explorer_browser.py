"""The explorer in a headless Chromium, as a user runs it: `make test-browser`."""

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from recorded_runs import ARGUMENTS, DATA, record_run

from riemannrnn.analysis import PathRecorder
from riemannrnn.analysis.layer_recording import LayersRecorder

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT = 240_000
"""Milliseconds after which a test fails. Nothing takes so long, but the machine may be busy."""

HARMLESS = ("allowHTML will default to false",)
"""A message that a library of Panel prints about itself."""


@contextmanager
def explorer(folder, *arguments):
    """Run the command with its errors in a file; yield its process and the address that it prints."""
    command = [sys.executable, "-m", "riemannrnn", "explore", "--no-browser", *map(str, arguments)]
    errors = folder / "errors.txt"
    with open(errors, "w") as file, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as process:
        line = process.stdout.readline()
        found = re.search(r"http://localhost:\d+/\w*", line)
        try:
            assert found, errors.read_text()
            yield process, found[0]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=120)
    assert "Traceback" not in errors.read_text()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("runs")
    broken = parent / "broken"
    broken.mkdir()
    (broken / "path.h5").write_bytes(bytes(200))
    growing = parent / "growing"
    growing.mkdir()
    stack = parent / "stack"
    stack.mkdir()
    names = ("layers.0.recurrent", "layers.1.recurrent")
    with LayersRecorder(stack, {"network": {"layers": [6, 4], "activation": "tanh"}, "data": DATA}, names) as made:
        for step in range(3):
            made.record(step, {name: np.eye(n) * step / 10 for name, n in zip(names, (6, 4), strict=True)}, loss=1.0)
    return [record_run(parent / "one"), broken, growing, stack]


@pytest.fixture(scope="module")
def recorder(folders):
    """A run that is being written."""
    with PathRecorder(folders[2], {"network": ARGUMENTS, "data": DATA}, resolution=0) as made:
        for step in range(3):
            made.record(step, np.eye(10) * step / 30, loss=1.0)
        yield made


@pytest.fixture(scope="module")
def server(folders, recorder):
    with explorer(folders[0].parent, *folders) as (_, address):
        yield address.removesuffix("run")


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; make test-browser installs it")
    with sync_api.sync_playwright() as playwright:
        chromium = CHROMIUM or playwright.chromium.executable_path
        if not Path(chromium).exists():
            pytest.skip("Chromium is not installed on this machine; make test-browser installs it")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def window(chromium, server):
    """Return a function that opens an address in a window; at the end no console may contain an error."""
    wrong, windows = [], []

    def watched(page):
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(f"{request.url} failed"))
        page.on("request", lambda request: elsewhere(request.url, (server, "data:", "blob:"), wrong))
        page.on("console", lambda message: complaint(message, wrong))

    def opened(query="", wait=".lesson"):
        page = chromium.new_page(viewport={"width": 1366, "height": 900}, accept_downloads=True)
        page.set_default_timeout(WAIT)
        windows.append(page)
        watched(page)
        page.goto(server + query)
        wait_until_drawn(page, wait)
        return page

    yield opened
    for page in windows:
        page.close()
    assert not wrong


def elsewhere(url, allowed, wrong):
    """Record a request that does not go to the explorer."""
    if not url.startswith(allowed):
        wrong.append(url)


def complaint(message, wrong):
    """Record an error or a warning of the console."""
    if message.type in ("error", "warning") and not any(each in message.text for each in HARMLESS):
        wrong.append(message.text)


PIXEL = """([number, x, y]) => {
  const figures = [];
  const walk = (view) => {
    if (view.model && view.model.type === "Figure") figures.push(view);
    for (const each of view.child_views || []) walk(each);
  };
  for (const view of Bokeh.index.roots) walk(view);
  const plot = figures[number];
  const box = plot.el.getBoundingClientRect();
  return [box.left + plot.frame.x_scale.compute(x), box.top + plot.frame.y_scale.compute(y)];
}"""
"""The position of a point of a figure in the window, from Bokeh's layout."""


LAID_OUT = """async () => {
  const boxes = () => JSON.stringify([...document.querySelectorAll("body *")].slice(0, 50).map(
    (each) => each.getBoundingClientRect()));
  const before = boxes();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return before === boxes();
}"""
"""Whether everything stays where it is from one frame to the next but one."""


def wait_until_drawn(page, selector=".lesson"):
    """Wait until a page has its words and its pictures, hears keys, and nothing moves any more."""
    page.wait_for_selector(selector)
    page.wait_for_selector(".facts", state="attached")
    page.wait_for_selector(".bk-Figure")
    page.wait_for_selector("body[data-keys=ready]")
    page.wait_for_function(LAID_OUT)


def at(page, x, y, number=0):
    """Return the pixel of a point in a picture."""
    return page.evaluate(PIXEL, [number, x, y])


def wait_for_address(page, part):
    page.wait_for_function("part => decodeURIComponent(location.search).includes(part)", arg=part)


def wait_for_text(page, text):
    page.locator(".facts", has_text=text).wait_for()


def facts(page):
    return page.locator(".facts").inner_text()


def wait_for_facts(page, text):
    """Wait until a page says a whole text."""
    started = time.monotonic()
    while facts(page) != text:
        assert time.monotonic() - started < WAIT / 1000, f"{facts(page)!r} is not {text!r}"
        page.wait_for_timeout(50)


def drag(page, start, end, steps=8):
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=steps)
    page.mouse.up()


def test_a_point_is_dragged_and_the_address_shared(window):
    page = window()
    wait_for_text(page, "thrown out of the picture")
    drag(page, (0.8, -1.0), (-0.5, -1.0))
    page.wait_for_function("location.search.match(/start=-0\\.(4[89]|5)/)")
    page.locator(".facts", has_text="thrown out").wait_for(state="detached")
    wait_for_text(page, "At the start")
    shared = page.url
    other = window(shared.split("/")[-1])
    wait_for_facts(other, facts(page))


def test_controls_change_the_picture(window):
    page = window("?steps=0")
    page.get_by_role("button", name="Step").click()
    wait_for_address(page, "steps=1")
    page.keyboard.press("s")
    wait_for_address(page, "steps=2")
    page.keyboard.press("ArrowLeft")
    wait_for_address(page, "start=0.71")
    page.get_by_role("button", name="Run").click()
    wait_for_address(page, "steps=42")
    page.get_by_role("button", name="Reset").click()
    wait_for_address(page, "steps=0")
    page.select_option("select >> nth=0", label="A long step of ΔW2 passes through infinity")
    wait_for_address(page, "lesson=infinity")
    page.wait_for_selector("text=ΔW2 refused")


def test_the_metric_is_changed(window):
    page = window("?manifolds=monotone&rules=descent/monotone&start=0.3,0.1")
    wait_for_text(page, "descent, monotone")
    page.wait_for_selector("text=geodesic, monotone")
    page.get_by_role("button", name="Remove item").last.click()
    page.wait_for_function("!location.search.includes('manifolds=monotone')")


def test_a_click_places_the_start_and_with_shift_the_end(window):
    page = window()
    page.mouse.click(*at(page, 0.0, 1.0))
    wait_for_address(page, "start=")
    page.keyboard.down("Shift")
    page.mouse.click(*at(page, -2.0, -1.5))
    page.keyboard.up("Shift")
    wait_for_address(page, "end=-")


def test_back_returns_to_the_previous_state(window):
    page = window("?steps=3")
    page.goto(page.url.replace("steps=3", "steps=4"))
    wait_until_drawn(page)
    page.go_back()
    wait_for_address(page, "steps=3")
    wait_until_drawn(page)


@pytest.mark.parametrize("kind", ["PNG", "SVG", "HTML"])
def test_a_view_is_saved(window, chromium, tmp_path, kind):
    page = window()
    with page.expect_download() as download:
        page.get_by_text(kind, exact=True).click()
    path = tmp_path / f"view.{kind.lower()}"
    download.value.save_as(path)
    assert path.stat().st_size > 20_000
    if kind == "HTML":
        wrong = []
        alone = chromium.new_page()
        alone.set_default_timeout(WAIT)
        alone.on("pageerror", lambda error: wrong.append(str(error)))
        alone.on("request", lambda request: elsewhere(request.url, ("file:", "data:", "blob:"), wrong))
        alone.goto(path.as_uri())
        alone.wait_for_selector(".bk-Figure")
        alone.wait_for_selector("text=A singularity throws")
        assert not wrong
        alone.close()


def test_runs_and_a_damaged_one(window):
    page = window("run")
    wait_for_text(page, "damaged")
    wait_for_text(page, "12")
    page.keyboard.press("Home")
    wait_for_address(page, "step=0")
    page.wait_for_selector("text=After 0 of 12 steps")


TITLED = """(title) => {
  const found = (view) => (view.model.title && view.model.title.text || "").startsWith(title)
    || (view.child_views || []).some(found);
  return Bokeh.index.roots.some(found);
}"""
"""Whether a picture has a title that begins so."""


def test_the_layer_of_a_stack_is_in_the_address(window):
    page = window("run?runs=stack&layer=1")
    page.wait_for_function(TITLED, arg="W, layer 1")
    wait_for_text(page, "all layers are monotone")
    page.keyboard.press("l")
    page.wait_for_function("!location.search.includes('layer')")
    page.wait_for_function(TITLED, arg="W, layer 0")
    page.keyboard.press("l")
    wait_for_address(page, "layer=1")
    other = window(page.url.split("/")[-1])
    other.wait_for_function(TITLED, arg="W, layer 1")


def test_a_run_that_is_being_written_is_followed(window, recorder):
    page = window("run?runs=growing")
    page.wait_for_selector("text=After 2 of 2 steps")
    recorder.record(9, np.eye(10) / 4, loss=0.5)
    page.wait_for_selector("text=After 9 of 9 steps")


def test_dynamics(window):
    page = window("dynamics?run=one&duration=5")
    wait_for_text(page, "one after 12 steps")
    page.keyboard.press("n")
    wait_for_address(page, "seed=1")


def test_two_windows_have_two_states(window):
    one, other = window("?rate=0.3"), window("?rate=0.4")
    one.keyboard.press("+")
    wait_for_address(one, "rate=0.6")
    assert "rate=0.4" in other.url


def test_a_burst_of_events_is_drawn_at_its_end(window):
    page = window("?steps=1&in_resolvent=0")
    page.mouse.move(*at(page, 0.8, -1.0))
    page.mouse.down()
    (x0, y0), (x1, y1) = at(page, 0.5, -1.0), at(page, -1.5, 1.0)
    for place in range(1000):
        share = place / 999
        page.mouse.move(x0 + share * (x1 - x0), y0 + share * (y1 - y0))
    page.mouse.up()
    started = time.monotonic()
    page.wait_for_function("location.search.match(/start=-1\\.[45]/)")
    assert time.monotonic() - started < 60, "events have queued up"
    page.keyboard.press("s")
    wait_for_address(page, "steps=2")


def test_invalid_entries_of_the_address_are_reported(window):
    page = window("?rate=fast&manifolds=nothing")
    wait_for_text(page, "it is a number")
    wait_for_text(page, "it is one of euclidean")


def test_ctrl_c_stops_it(tmp_path):
    with explorer(tmp_path) as (process, _):
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "Stopped." in output
