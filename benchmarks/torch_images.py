"""The rival of the image benchmark: a plain PyTorch loop, in a process of its own.

Reads one JSON task a line, trains one epoch, and answers with the seconds it took.
"""

import json
import sys
import time

import torch

from benchmarks.image_networks import (
    BATCH,
    MOMENTUM,
    NETWORKS,
    RATE,
    images,
    torch_network,
)


def main():
    x, labels = images()
    made = {}
    for line in sys.stdin:
        task = json.loads(line)
        name, layout = task["network"], getattr(torch, task["layout"])
        inputs = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
        inputs = inputs.to(memory_format=layout)
        targets = torch.from_numpy(labels)
        if (name, layout) not in made:
            network = torch_network(*NETWORKS[name]).to(memory_format=layout).train()
            made[name, layout] = network
        network = made[name, layout]
        optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
        loss = torch.nn.CrossEntropyLoss()
        start = time.perf_counter()
        steps = task["images"] // BATCH
        order = torch.randperm(task["images"])[: steps * BATCH].view(steps, BATCH)
        for rows in order:
            optimizer.zero_grad()
            loss(network(inputs[rows]), targets[rows]).backward()
            optimizer.step()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
