"""A recorded run on digits, for tests of functions that read run folders."""

from pathlib import Path

from riemannrnn import RateNetwork, train
from riemannrnn.analysis import PathRecorder
from riemannrnn.data import load_digits
from riemannrnn.run_folder import write_netcdf

ARGUMENTS = {"n_units": 10, "n_inputs": 64, "n_outputs": 10, "activation": "tanh", "seed": 0, "dtype": "float64"}
DATA = {"name": "digits", "training_size": 40, "seed": 0, "folder": None}


def record_run(folder: Path, rule: str = "dW2", rate: float = 0.5, history: bool = True) -> Path:
    """Train for a few steps, and leave path.h5 and history.nc as `riemannrnn train` does."""
    folder.mkdir(parents=True)
    network, data = RateNetwork(**ARGUMENTS), load_digits().split(40, seed=0)[0]
    run = {"network": ARGUMENTS, "data": DATA, "training": {"manifold": None}}
    with PathRecorder(folder, run, resolution=0) as recorder:
        made = train(
            network, network.initial_weights(0.5), data.stimuli, data.labels, rule, rate, batch_size=10, epochs=3, seed=0,
            record=recorder, held_out=(data.stimuli, data.labels), evaluate_every=4, guard=False,
        )  # fmt: skip
    if history:
        write_netcdf(folder / "history.nc", made.to_dataset())
    return folder
