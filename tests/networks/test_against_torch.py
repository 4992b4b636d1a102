"""Networks for images against PyTorch: outputs, training, stability."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import oracles
from widelimit.layers import Activation, BatchNorm, Conv, Dense, Residual
from widelimit.measures import input_jacobian, stability_plan
from widelimit.networks import cnn, resnet18
from widelimit.training import train

torch = pytest.importorskip("torch", reason="PyTorch is a benchmark dependency")
safetensors = pytest.importorskip("safetensors.numpy", reason="needs safetensors")

SIZE, N, BATCH, RATE, STEPS = 8, 6, 3, 0.05, 2
NETWORK = resnet18(outputs=3, width_factor=1 / 16)


class Block(torch.nn.Module):
    def __init__(self, branch, shortcut):
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x):
        return self.branch(x) + (x if self.shortcut is None else self.shortcut(x))


class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


def rebuilt(layers, channels):
    """The same layers in PyTorch, and the channels that leave."""
    parts = []
    for layer in layers:
        if isinstance(layer, Conv):
            assert layer.padding == "centered"
            parts.append(
                torch.nn.Conv2d(
                    channels, layer.channels, layer.window, layer.strides,
                    padding=layer.window[0] // 2, bias=False,
                )
            )  # fmt: skip
            channels = layer.channels
        elif isinstance(layer, BatchNorm):
            parts.append(torch.nn.BatchNorm2d(channels))
        elif isinstance(layer, Residual):
            branch, after = rebuilt(layer.branch.layers, channels)
            shortcut = layer.shortcut and rebuilt(layer.shortcut.layers, channels)[0]
            parts.append(Block(branch, shortcut))
            channels = after
        elif isinstance(layer, Activation):
            parts.append(torch.nn.ReLU())
        elif isinstance(layer, Dense):
            parts.append(torch.nn.Linear(channels, layer.features))
        else:
            parts.append(Mean())
    return torch.nn.Sequential(*parts), channels


def moved(layers, arrays, prefix=""):
    """Our parameters from PyTorch's names and arrays."""
    params = []
    for i, layer in enumerate(layers):
        name = f"{prefix}{i}."
        if isinstance(layer, Residual):
            both = {"branch": moved(layer.branch.layers, arrays, f"{name}branch.")}
            if layer.shortcut is not None:
                inner = layer.shortcut.layers
                both["shortcut"] = moved(inner, arrays, f"{name}shortcut.")
            params.append(both)
        elif isinstance(layer, Conv):
            weight = arrays[f"{name}weight"].transpose(2, 3, 1, 0)
            params.append({"weight": jnp.asarray(weight)})
        elif isinstance(layer, BatchNorm):
            params.append(
                {
                    "scale": jnp.asarray(arrays[f"{name}weight"]),
                    "shift": jnp.asarray(arrays[f"{name}bias"]),
                    "statistics": {
                        "mean": jnp.asarray(arrays[f"{name}running_mean"]),
                        "variance": jnp.asarray(arrays[f"{name}running_var"]),
                    },
                }
            )
        elif isinstance(layer, Dense):
            weight, bias = arrays[f"{name}weight"].T, arrays[f"{name}bias"]
            params.append({"weight": jnp.asarray(weight), "bias": jnp.asarray(bias)})
        else:
            params.append(())
    return tuple(params)


def through_a_file(model, path):
    """The model's arrays, written and read as safetensors."""
    state = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    safetensors.save_file(state, path)
    return moved(NETWORK.layers, safetensors.load_file(path))


@pytest.mark.slow
def test_training_outputs_and_stability_are_those_of_pytorch(tmp_path, getkey):
    torch.manual_seed(0)
    model = rebuilt(NETWORK.layers, 3)[0].double()
    start = through_a_file(model, tmp_path / "start.safetensors")
    x = np.asarray(jax.random.normal(getkey(), (N, SIZE, SIZE, 3)))
    labels = np.arange(N) % 3
    (key,) = jax.random.split(getkey(), 1)

    images = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9)
    losses = []
    for epoch in range(STEPS):
        order = np.array(jax.random.permutation(jax.random.fold_in(key, epoch), N))
        for rows in order.reshape(-1, BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                model(images[rows]), torch.tensor(labels[rows])
            )
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    trained = through_a_file(model, tmp_path / "trained.safetensors")

    run = train(
        NETWORK,
        jax.tree.map(lambda a: a[None], start),
        jnp.asarray(x),
        jax.nn.one_hot(jnp.asarray(labels), 3),
        loss="cross-entropy",
        optimizer=optax.sgd(RATE, momentum=0.9),
        epochs=STEPS,
        batch_size=BATCH,
        keys=key[None],
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-5, atol=1e-6),
        run.params,
        trained,
    )
    means = np.reshape(losses, (STEPS, -1)).mean(axis=1)
    np.testing.assert_allclose(run.loss[0], means, rtol=1e-8)

    model.eval()
    outputs = model(images).detach().numpy()
    np.testing.assert_allclose(
        NETWORK(trained, jnp.asarray(x)), outputs, rtol=1e-8, atol=1e-10
    )
    rows = images[:2].clone().requires_grad_(True)
    sums = model(rows).sum(dim=0)
    jacobian = np.stack(
        [
            torch.autograd.grad(s, rows, retain_graph=True)[0]
            .numpy()
            .transpose(0, 2, 3, 1)
            .reshape(2, -1)
            for s in sums
        ],
        axis=1,
    )

    def f(row):
        return NETWORK(trained, row[None])[0]

    kept = jnp.asarray(x[:2])
    found = jax.jit(lambda rows: input_jacobian(f, rows))(kept)
    np.testing.assert_allclose(found, jacobian, rtol=1e-7, atol=1e-10)
    plan = stability_plan(f, kept)
    stability = jax.jit(lambda rows: plan.measure(f, rows, radius=0.3).mean)(kept)
    d = SIZE * SIZE * 3
    for value, matrix in zip(stability, jacobian, strict=True):  # by mpmath's integral
        norm = oracles.mean_gaussian_norm(np.linalg.svd(matrix, compute_uv=False) ** 2)
        expected = 0.3 * d / (d + 1) * norm / oracles.mean_chi(d)
        np.testing.assert_allclose(value, expected, rtol=1e-7)


def test_a_plain_cnn_is_that_of_pytorch(getkey):
    network = cnn(depth=3, channels=4, outputs=2)
    params = network.init(getkey(), (9, 9, 3))  # odd, so that paddings agree
    x = jax.random.normal(getkey(), (2, 9, 9, 3))
    y = torch.tensor(np.array(x).transpose(0, 3, 1, 2))
    for layer, p in zip(network.layers, params, strict=True):
        if isinstance(layer, Conv):
            weight = torch.tensor(np.array(p["weight"]).transpose(3, 2, 0, 1))
            y = torch.nn.functional.conv2d(y, weight, None, layer.strides, 1).relu()
    y = y.mean(dim=(2, 3)).numpy() @ np.asarray(params[-1]["weight"])
    np.testing.assert_allclose(network(params, x), y, rtol=1e-9, atol=1e-12)
