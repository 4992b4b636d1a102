"""The rival of the training benchmark: a plain PyTorch loop, in a process of its own.

In one process, the two libraries' thread pools would slow each other down. Reads one
JSON task a line, trains its seeds, and answers with the seconds that this took.
"""

import json
import sys
import time

import torch

from benchmarks.workload import BATCH, SEEDS, workload


def train_seeds(inputs, targets, depth, width, epochs):
    steps = len(inputs) // BATCH
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        sizes = [inputs.shape[1], *[width] * depth, 10]
        layers = []
        for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
            linear = torch.nn.Linear(fan_in, fan_out, bias=False)
            torch.nn.init.normal_(linear.weight, std=(2 / fan_in) ** 0.5)
            layers += [linear, torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [25, 35, 45])
        loss = torch.nn.CrossEntropyLoss()
        for _ in range(epochs):
            order = torch.randperm(len(inputs))[: steps * BATCH].view(steps, BATCH)
            for rows in order:
                optimizer.zero_grad()
                loss(model(inputs[rows]), targets[rows]).backward()
                optimizer.step()
            schedule.step()


def main():
    for line in sys.stdin:
        task = json.loads(line)
        x, labels = workload(task["features"])
        inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)
        start = time.perf_counter()
        train_seeds(inputs, targets, task["depth"], task["width"], task["epochs"])
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
