"""Runs Square of torchattacks, for a comparison with `hoodwink attack … --attack square`.

    python benches/square.py MODEL PICTURES LABELS COUNT EPS QUERIES MEAN STD THREADS

The network is a plain PyTorch module (goldens/cifar_networks.py) in eval mode with frozen parameters, and the pictures
are one batch. Prints the seconds of the attack alone, pictures per second, and how many of the pictures stand.
"""

import sys
import time

import numpy as np
import torch
import torchattacks
from attacks import load, pixels


def main(model, pictures, labels, count, eps, queries, mean, std, threads):
    torch.set_num_threads(int(threads))
    network = load(model, mean, std).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    x = pixels(pictures, int(count))
    y = torch.from_numpy(np.load(labels)[: int(count)]).long()
    setting = {"n_restarts": 1, "p_init": 0.8, "loss": "margin", "resc_schedule": False, "seed": 0}
    square = torchattacks.Square(network, norm="Linf", eps=float(eps), n_queries=int(queries), **setting)
    right = network(x).argmax(1) == y
    begun = time.perf_counter()
    found = square(x[right], y[right])
    seconds = time.perf_counter() - begun
    stand = (network(found).argmax(1) == y[right]).sum().item()
    print(f"{seconds:.1f} s, {int(count) / seconds:.1f} pictures/s, {stand} of {count} stand")


if __name__ == "__main__":
    if len(sys.argv) != 10:
        sys.exit(__doc__)
    main(*sys.argv[1:])
