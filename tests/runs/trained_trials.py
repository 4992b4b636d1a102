"""A trial that trains with a checkpoint, and a command that runs a study of it."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from widelimit.activations import ReLU
from widelimit.layers import Activation, BatchNorm, Dense, Sequential
from widelimit.measures import lazy_ratio
from widelimit.runs import ProcessExecutor, SerialExecutor, run_trials
from widelimit.training import Checkpoint, momentum_sgd, train

EPOCHS = 60


def trial(config, report):
    """Trains two seeds; `log` gets a line with every epoch."""

    def tell(share):
        report(share)
        with open(config["log"], "a") as log:
            log.write(f"{round(share * EPOCHS)}\n")

    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(32, 3)), float)
    network = Sequential((Dense(8), BatchNorm(), Activation(ReLU()), Dense(1)))
    keys = jax.random.split(jax.random.key(config["seed"]), 2)
    trained = train(
        network,
        jax.vmap(lambda key: network.init(key, (3,)))(keys),
        x,
        jnp.sin(3 * x[:, :1]),
        loss="squared",
        optimizer=momentum_sgd(
            0.05, steps_per_epoch=4, epochs=EPOCHS, schedule="cosine"
        ),
        epochs=EPOCHS,
        batch_size=8,
        keys=keys,
        probe=lazy_ratio,
        probe_epochs=range(0, EPOCHS + 1, 10),
        checkpoint=Checkpoint(report.directory / "training"),
        report=tell,
    )
    weight = np.asarray(trained.params[0]["weight"])
    return xr.Dataset(
        {
            "loss": (("seed", "epoch"), np.asarray(trained.loss)),
            "ratio": (("seed", "stop"), np.asarray(trained.probes)),
            "weight": (("seed", "d", "w"), weight),
        }
    )


def main(workers, *runs):
    """Run the study in each of the directories, with its own configuration."""
    executor = ProcessExecutor(int(workers)) if int(workers) else SerialExecutor()
    for directory, config in zip(runs[::2], runs[1::2], strict=True):
        run_trials(
            directory,
            configuration={"study": "trained"},
            trials=[json.loads(config)],
            trial="trained_trials:trial",
            executor=executor,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
