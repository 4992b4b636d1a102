"""Training a very wide network to the border of the lazy ball, as one process."""

import json
import resource
import subprocess
import sys
import time

WIDTH, CONSTANT, BATCH, EPOCHS = 100_000, 10.0, 64, 40

TITLE = "Training to the exit of the lazy ball, width 1e5"
NOTE = (
    f"wang2022's network of width {WIDTH:,} on MNIST, 0 against 1, 784 features, rows "
    f"of norm 1, SGD on the logistic loss with rate 0.1 and batches of {BATCH}, until "
    "a unit has moved by 10 / sqrt(m); float32, two cores. Time with compilation, "
    "memory the peak of the whole process, data included. Required: at most 600 s and "
    "3 GB."
)


def measure():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.lazy_exit"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(done.stdout)
    return [
        {
            "training images": str(found["images"]),
            "steps to the exit": str(found["steps"]),
            "time, s": f"**{found['seconds']:.0f}**",
            "memory, GB": f"**{found['peak']:.2f}**",
            "distance / V": f"{found['distance']:.5f}",
            "test accuracy": f"{100 * found['accuracy']:.2f} %",
        }
    ]


def train_to_the_exit():
    """The whole: data, initialisation, training, accuracy."""
    from widelimit.studies.wang2022_problem import accuracy_of, data_of, train_lazily
    from widelimit.training import LazyBall, lazy_radius

    config = {
        "data": "mnist",
        "classes": (0, 1),
        "scale": "unit",
        "side": 28,
        "train_rows": None,
        "test_rows": None,
        "width": WIDTH,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "learning_rate": 0.1,
    }
    data = data_of(config)
    began = time.perf_counter()
    run = train_lazily(config, data, [0], constant=CONSTANT)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    start, trained = run.seed(0)
    radius = lazy_radius(CONSTANT, WIDTH)
    return {
        "images": len(data.x_train),
        "steps": int(run.trained.left_at[0]),
        "seconds": seconds,
        "peak": peak,
        "distance": float(LazyBall(start, radius).distance(trained)) / radius,
        "accuracy": accuracy_of(run.network, trained, data.x_test, data.t_test),
    }


if __name__ == "__main__":
    print(json.dumps(train_to_the_exit()))
