"""The runtime: chunks of a batch in threads, BLAS limited to one thread, and no effects of an import."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from threading import Barrier, BrokenBarrierError, Event, get_ident
from typing import ClassVar

import numpy as np
import pytest
from cases import fixed_point_problem as problem
from threadpoolctl import ThreadpoolController, threadpool_info

from manifolds import Identity, PullbackManifold
from manifolds.linear_algebra import chain
from riemannrnn import CrossEntropy, FixedPointCost, RateNetwork, runtime, solve_fixed_points
from riemannrnn.models import Response
from riemannrnn.rules import Descent
from riemannrnn.runtime import busy_core, on_a_busy_core, one_blas_thread, one_core, workers


def blas_threads():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def set_blas_threads(counts):
    """Set them in a thread that ends: in threadpoolctl no other thread can set them while the first is alive."""
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(lambda library, count: library.set_num_threads(count), libraries, counts))


@pytest.fixture
def two_cores(monkeypatch):
    """Two cores, and threads even for small batches."""
    monkeypatch.setattr(runtime, "WORTHWHILE", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)


@pytest.mark.usefixtures("two_cores")
def test_chunks_are_all_rows_in_order():
    parts = runtime.map_chunks(lambda rows: rows, np.empty((2000, 3)))
    assert len(parts) > 2
    np.testing.assert_array_equal(np.concatenate([np.arange(2000)[rows] for rows in parts]), np.arange(2000))
    assert len(runtime.map_chunks(lambda rows: rows, np.empty((100, 3)))) == 1


@pytest.mark.parametrize("parts", [1, 2])
def test_chunks_of_many_units_are_sized_by_bytes(parts, monkeypatch):
    """On any number of cores: an iteration uses a dozen arrays of the size of a chunk."""
    array = np.empty((200, 1000), np.float32)
    monkeypatch.setattr(runtime, "CHUNK_BYTES", 4000 * 70)
    with runtime.divided_into(parts):
        chunks = runtime.map_chunks(lambda rows: rows, array, None)
    assert [(rows.start, rows.stop) for rows in chunks] == [(0, 70), (70, 140), (140, 200)]
    assert runtime.map_chunks(lambda rows: rows, array[:0]) == [slice(0, 0)]


@pytest.mark.parametrize(("units", "held"), [(100, 1), (20, 0)])
def test_gradients_of_small_networks_hold_blas_to_one_thread(monkeypatch, units, held):
    """BLAS threads wait for each other, on a busy machine for milliseconds; tiny products use none of them."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    entered = []
    monkeypatch.setattr(runtime, "one_blas_thread", lambda: entered.append(1) or nullcontext())
    runtime.summed(lambda adjoints, rates: adjoints.T @ rates, *np.ones((2, 512, units)))
    assert len(entered) == held


@pytest.fixture(params=[True, False], ids=["any thread limits", "one thread limits"])
def _two_blas_threads(request, monkeypatch):
    """The suite uses one thread, so a limit would have no effect."""
    monkeypatch.setattr(runtime, "any_thread_limits", lambda: request.param)
    before = blas_threads()
    set_blas_threads([2] * len(before))
    assert set(blas_threads()) == {2}
    yield
    set_blas_threads(before)


@pytest.mark.usefixtures("two_cores", "_two_blas_threads")
def test_blas_has_its_threads_back_whoever_leaves_last():
    before = blas_threads()
    seen = []
    with ThreadPoolExecutor(4) as pool:
        array = np.empty((300, 3))
        list(pool.map(lambda _: runtime.map_chunks(lambda rows: seen.append(max(blas_threads())), array), range(20)))
    assert set(seen) == {1}
    assert blas_threads() == before


@pytest.mark.usefixtures("_two_blas_threads")
def test_blas_has_its_threads_back_when_workers_end_while_others_hold_it():
    threads, inside, leave = blas_threads(), Event(), Event()

    def hold():
        with one_blas_thread():
            inside.set()
            leave.wait(30)

    with ThreadPoolExecutor(1) as pool:
        with workers():
            holder = pool.submit(hold)
            inside.wait(30)
        assert set(blas_threads()) == {1}
        leave.set()
        holder.result(30)
    assert blas_threads() == threads


class Watching(PullbackManifold):
    """Records the number of BLAS threads when a rule uses the metric."""

    seen: ClassVar[list[int]] = []

    def euclidean_to_riemannian_gradient(self, point, euclidean_gradient):
        self.seen.append(max(blas_threads()))
        return super().euclidean_to_riemannian_gradient(point, euclidean_gradient)


@pytest.mark.usefixtures("two_cores", "_two_blas_threads")
@pytest.mark.parametrize("what", ["cost", "gradient", "hessian", "rule"])
def test_small_products_between_solutions_wake_no_blas_threads(monkeypatch, what):
    """They would wait for the next product in a busy loop, and block half of the cores."""
    weights, drive = problem(n=100, batch=512, radius=0.5)
    network, seen = RateNetwork(100, None, 10, seed=0), Watching.seen
    for name in ("_outputs", "pull_back"):
        own = getattr(Response, name)
        watched = lambda *arguments, own=own: seen.append(max(blas_threads())) or own(*arguments)  # noqa: E731
        monkeypatch.setattr(Response, name, watched)
    cost = FixedPointCost(network, drive, CrossEntropy(np.zeros(512, dtype=int)))
    rule = Descent(Watching(Identity(), 100))
    calls = {
        "cost": lambda: cost(weights),
        "gradient": lambda: cost.gradient(weights),
        "hessian": lambda: cost.hessian(weights, weights),
        "rule": lambda: rule.step(weights, cost.at(weights), 0.1),
    }
    seen.clear()
    calls[what]()
    assert len(seen) >= {"cost": 1, "gradient": 2, "hessian": 4, "rule": 3}[what]
    assert set(seen) == {1}


def test_a_forked_child_has_its_own_threads():
    """It would wait for ever for the threads of its parent."""
    code = (
        "import os, numpy as np\n"
        "from riemannrnn import runtime\n"
        "runtime.WORTHWHILE, os.sched_getaffinity = 0, lambda process: {0, 1}\n"
        "work = lambda: runtime.map_chunks(lambda rows: rows.stop, np.empty((300, 3)))\n"
        "work()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    work()\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


@pytest.mark.usefixtures("two_cores")
def test_an_error_in_a_thread_arrives():
    both, caller = Barrier(2, timeout=30), get_ident()

    def work(rows):
        both.wait()
        return 1 // (get_ident() == caller)

    with pytest.raises(ZeroDivisionError):
        runtime.map_chunks(work, np.empty((300, 3)))


@pytest.mark.parametrize("solver", ["auto", "picard", "anderson", "newton"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_change_nothing(solver, dtype, monkeypatch):
    weights, drive = problem(batch=300, dtype=dtype)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr(runtime, "WORTHWHILE", np.inf)
    alone = solve_fixed_points(weights, drive, solver=solver)
    monkeypatch.setattr(runtime, "WORTHWHILE", 0)
    together = solve_fixed_points(weights, drive, solver=solver)
    np.testing.assert_allclose(together.rates, alone.rates, atol=20 * alone.tolerance)
    assert together.converged.all()


@pytest.mark.usefixtures("two_cores")
def test_a_chunk_may_ask_for_chunks():
    """Threads that wait for each other would wait for ever."""
    array = np.ones((300, 3))
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(runtime.map_chunks, lambda rows: len(runtime.map_chunks(lambda inner: inner, array)), array)
        assert set(work.result(timeout=30)) == {1}


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(("most", "chunks_of_each"), [(None, 1), (1, 2)])
def test_a_worker_shares_its_batches_only_while_others_have_nothing_to_do(most, chunks_of_each):
    with workers(most) as (pool, _):
        work = pool.submit(runtime.map_chunks, lambda rows: rows, np.ones((300, 3)))
        assert len(work.result(timeout=30)) == chunks_of_each


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(("context", "together"), [(nullcontext, True), (busy_core, False), (one_core, False)])
def test_a_worker_starts_no_workers_on_other_cores(context, together):
    meeting = Barrier(2)

    def meet():
        try:
            meeting.wait(0.5)
        except BrokenBarrierError:
            return False
        return True

    with context(), workers() as (pool, _):
        assert [each.result(30) for each in [pool.submit(meet), pool.submit(meet)]] == [together, together]


@pytest.mark.usefixtures("two_cores")
def test_products_in_threads(generator):
    a, b = generator.standard_normal((300, 70)), generator.standard_normal((70, 50))
    for left in (a, (9 * a).astype(np.int16)):  # integers, for example sound
        np.testing.assert_allclose(runtime.product(left, b), left @ b, rtol=1e-12, atol=1e-12)
    total = runtime.summed(lambda left, right: left.T @ right, a, a[:, :20])
    np.testing.assert_allclose(total, a.T @ a[:, :20], rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(("held", "parts"), [(one_blas_thread, 2), (nullcontext, 1)])
def test_products_of_manifolds_distribute_their_rows_while_blas_has_one_thread(held, parts, generator, monkeypatch):
    """Outside, BLAS threads serve as well; inside, a large network would otherwise learn on one core."""
    matrices, rows = generator.standard_normal((3, 201, 201)), []
    monkeypatch.setattr("manifolds.linear_algebra.matmul", lambda a, b: rows.append(a.shape[0]) or a @ b)
    with held():
        product = chain(*matrices)
    assert (len(rows), sum(rows)) == (2 * parts, 2 * 201)
    np.testing.assert_allclose(product, matrices[0] @ matrices[1] @ matrices[2], rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("two_cores")
def test_error_settings_are_passed_to_the_threads():
    both = Barrier(2, timeout=30)

    def overflow(rows):
        both.wait()
        return np.float32(1e38) * np.full(3, 10, np.float32)

    with np.errstate(over="ignore"):
        assert np.all(np.isinf(runtime.map_chunks(overflow, np.empty((300, 3)))))
    with pytest.raises(RuntimeWarning, match="overflow"):
        runtime.map_chunks(overflow, np.empty((300, 3)))


@pytest.mark.usefixtures("two_cores")
def test_the_calling_thread_works_too():
    both, threads = Barrier(2, timeout=30), []

    def work(rows):
        both.wait()
        threads.append(get_ident())
        return on_a_busy_core()

    assert runtime.map_chunks(work, np.empty((300, 3))) == [True, True]
    assert get_ident() in threads
    assert len(set(threads)) == 2
    assert not on_a_busy_core()


@pytest.mark.usefixtures("two_cores")
def test_after_an_error_no_thread_begins_another_chunk():
    begun, both = [], Barrier(2, timeout=30)

    def work(rows):
        begun.append(rows.start)
        both.wait()
        if rows.start == 0:
            raise ZeroDivisionError
        time.sleep(0.3)

    with pytest.raises(ZeroDivisionError):
        runtime.map_chunks(work, np.empty((5000, 3)))
    assert sorted(begun) == [0, 512]


@pytest.mark.usefixtures("two_cores")
def test_a_busy_pool_is_not_waited_for():
    leave = Event()
    others = [runtime.POOL.submit(leave.wait) for _ in range(64)]
    with ThreadPoolExecutor(1) as pool:
        try:
            work = pool.submit(runtime.map_chunks, lambda rows: rows, np.empty((300, 3)))
            assert len(work.result(timeout=30)) == 2
        finally:
            leave.set()
            wait(others)


INTERRUPTED = """
import threading
from riemannrnn import runtime
from riemannrnn.runtime import BLAS, one_blas_thread

runtime.any_thread_limits = lambda: False
start = threading.Thread.start


def interrupted(thread):
    start(thread)
    raise KeyboardInterrupt


threading.Thread.start = interrupted
try:
    one_blas_thread().__enter__()
except KeyboardInterrupt:
    print(BLAS.held)
threading.Thread.start = start
with one_blas_thread():
    print(BLAS.held)
"""


def test_ctrl_c_at_the_start_of_a_thread_leaves_no_waiting_thread():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]
