"""A full disk ends a run with a sentence, not a crash, and leaves no incomplete file under a final name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_cli import run
from test_train_command import assert_same_bits, begin, merged

from riemannrnn.analysis import PathRecorder, read_run
from riemannrnn.run_folder import RunFolderError, write_toml
from riemannrnn.training.checkpoints import read_checkpoint

resource = pytest.importorskip("resource", reason="Windows limits no file sizes")

RECORD = """
import sys
from pathlib import Path
import numpy as np
from riemannrnn.analysis import PathRecorder
from riemannrnn.run_folder import RunFolderError

if sys.argv[2] == "HDF5":  # as on a file system where room that is reserved may still be lacking
    PathRecorder._reserve = lambda recorder, size: None
try:
    with PathRecorder(Path(sys.argv[1]), {}, resolution=0) as recorder:
        for step in range(300):
            recorder.record(step, np.full((30, 30), float(step)))
except RunFolderError as error:
    sys.exit(str(error))
"""

TINY = {
    "network": {"units": 30},
    "data": {"training_size": 40},
    "train": {"batch_size": 10, "epochs": 20, "checkpoint_every": 10},
}


def limited(kilobytes, *arguments):
    """Run Python in a process with a limit on file sizes; HDF5 then sees the error of a full disk."""
    size = kilobytes * 1024
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )  # fmt: skip


@pytest.mark.parametrize("kilobytes", [1, 40, 120, 200])
def test_a_path_larger_than_the_disk_ends_with_a_message_and_can_be_read(tmp_path, kilobytes):
    done = limited(kilobytes, "-c", RECORD, tmp_path, "reserved")
    assert done.returncode == 1, done.stderr
    assert done.stderr == (
        f"cannot write {tmp_path / 'path.h5'}: File too large; free space, make the folder writable, or choose another\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == (["path.h5"] if kilobytes > 64 else [])
    if kilobytes > 64:
        with read_run(tmp_path) as run:
            assert len(run) > 2
            assert all(np.array_equal(run[place], np.full((30, 30), float(place))) for place in range(len(run)))


@pytest.mark.parametrize("kilobytes", [1, 40, 100, 200])
def test_an_error_inside_hdf5_ends_with_a_message(tmp_path, kilobytes):
    done = limited(kilobytes, "-c", RECORD, tmp_path, "HDF5")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"cannot write {tmp_path / 'path.h5'}: File too large; free space")
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was not stopped."""
    result, folder = begin(tmp_path_factory.mktemp("whole"), **TINY)
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize("kilobytes", [1, 20, 80, 200])
def test_a_run_on_a_full_disk_ends_with_a_message_and_continues_to_the_same_bits(tmp_path, whole, kilobytes):
    """The limits end the run before its first step, in its checkpoints and in its path."""
    write_toml(tmp_path / "tiny.toml", merged(TINY))
    arguments = "train", "--config", tmp_path / "tiny.toml", "--output", tmp_path / "runs"
    done = limited(kilobytes, "-m", "riemannrnn", *arguments)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: cannot write ")
    assert "File too large; free space" in line
    (folder,) = (tmp_path / "runs").iterdir()
    assert not list(folder.rglob("*partial*"))
    for path in folder.rglob("checkpoint-*"):
        read_checkpoint(path)
    assert run("train", "--resume", folder).exit_code == 0
    assert_same_bits(folder, whole)


@pytest.mark.parametrize("steps", [1, 5])
def test_a_path_that_is_deleted_during_a_run_is_reported(tmp_path, steps):
    recorder = PathRecorder(tmp_path, {}, resolution=0)
    for step in range(steps):
        recorder.record(step, np.eye(2))
    (tmp_path / "path.h5").unlink()
    with pytest.raises(RunFolderError, match=r"cannot write .*path\.h5: it was deleted or moved; leave it in place"):
        recorder.record(steps, np.eye(2))
    with pytest.raises(RunFolderError, match="it was deleted"):
        recorder.close()
    assert not list(Path(tmp_path).iterdir())
