"""Training gives the same bits on another number of cores and beside other threads, and locks its folder."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import numpy as np
import pytest
from runs import run
from test_cli import refused
from test_cli import run as command
from test_train_command import assert_same_bits, begin

from riemannrnn.run_folder import LOCK, RunFolderError, locked
from riemannrnn.training.checkpoints import PATTERN, read_checkpoint

TRAIN = """
import os, sys
folder, cores, last, manifold = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
from pathlib import Path
import numpy as np
from riemannrnn import RateNetwork, train
from riemannrnn.data import load_digits
from riemannrnn.cost import Task
from riemannrnn.training.by_name import rule_on

digits = load_digits(np.float32).split(1000, seed=0)[0]
network = RateNetwork(200, 64, 10, seed=0, dtype=np.float32)
task = Task(network, network.initial_weights(0.5), digits, digits, digits)
task, rule = rule_on(task, "descent", manifold)


def stop(step, history):
    if step == last:
        raise KeyboardInterrupt


resume = any(Path(folder).glob("checkpoint-*"))
history = train(
    network, task.weights, digits.stimuli, digits.labels, rule, 0.1, 500, 3, 0,
    callback=stop, checkpoints=folder, resume=resume,
)
np.save(Path(folder) / "weights.npy", history.weights)
"""

THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from threadpoolctl import threadpool_limits
from riemannrnn import FixedPointClassifier
from riemannrnn.data import load_digits

digits = load_digits(np.float32).split(300, seed=0)[0]


def learn(number):
    model = FixedPointClassifier(200, manifold="monotone", epochs=1, random_state=number % 3)
    return model.fit(digits.stimuli, digits.labels).weights_.tobytes()


with ThreadPoolExecutor(4) as pool:
    together = list(pool.map(learn, range(12)))
alone = [learn(number) for number in range(3)]
print(sum(each != alone[number % 3] for number, each in enumerate(together)))
"""

needs_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="the test needs two cores"
)


def like_a_user(*arguments):
    """Run Python with as many BLAS threads as cores; return its output."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", *map(str, arguments)], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_two_cores
@pytest.mark.parametrize("manifold", ["left-invariant", "monotone"])
def test_a_run_continues_to_the_same_bits_on_another_number_of_cores(tmp_path, manifold):
    folders = {name: tmp_path / name for name in ("two", "two-one", "one-two", "one")}
    for name, folder in folders.items():
        folder.mkdir()
        first, *then = name.split("-")
        like_a_user(TRAIN, folder, {"one": 1, "two": 2}[first], 3 if then else 0, manifold)
        for cores in then:
            like_a_user(TRAIN, folder, {"one": 1, "two": 2}[cores], 0, manifold)
    weights = {name: np.load(folder / "weights.npy").tobytes() for name, folder in folders.items()}
    assert weights["two-one"] == weights["two"]
    assert weights["one-two"] == weights["one"]


@needs_two_cores
def test_threads_that_train_at_the_same_time_get_the_sequential_bits():
    assert like_a_user(THREADS) == "0\n"


def test_a_folder_is_held_by_one_thread_which_may_enter_again(tmp_path):
    message = f"another run writes to {tmp_path} at this moment; wait until"
    with locked(tmp_path), locked(tmp_path / "."), ThreadPoolExecutor(1) as pool, pytest.raises(RunFolderError, match=message):
        pool.submit(locked(tmp_path).__enter__).result()
    with locked(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_lock_ends_with_its_process(tmp_path):
    code = (
        "import os, pathlib, sys\n"
        "from riemannrnn.run_folder import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError, match="another run writes"), locked(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(tmp_path):
        pass


def test_two_runs_with_one_folder_are_refused(tmp_path):
    begun, leave = Event(), Event()

    def wait(step, history):
        begun.set()
        leave.wait(60)

    first = Thread(target=lambda: run(checkpoints=tmp_path, callback=wait))
    first.start()
    assert begun.wait(60)
    try:
        for resume in (False, True):
            with pytest.raises(RunFolderError, match="another run writes to"):
                run(checkpoints=tmp_path, resume=resume)
    finally:
        leave.set()
        first.join()
    assert read_checkpoint(sorted(tmp_path.glob(PATTERN))[-1])["step"] == 8


def test_the_command_refuses_a_run_that_another_process_continues(tmp_path):
    _, folder = begin(tmp_path / "one")
    _, reference = begin(tmp_path / "two")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with ThreadPoolExecutor(1) as pool:
        hold = locked(folder / "checkpoints")
        pool.submit(hold.__enter__).result()
        line = refused(command("train", "--resume", folder))
        assert f"another run writes to {folder / 'checkpoints'} at this moment" in line
        pool.submit(hold.__exit__, None, None, None).result()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert command("train", "--resume", folder).exit_code == 0
    assert_same_bits(folder, reference)
