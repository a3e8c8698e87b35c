"""The peers' side of `cargo xtask bench peers attacks`.

    python benches/attacks.py time FOLDER COMMAND ...    runs a command; prints as JSON its seconds, the seconds until the first
                                                        adversarial PNG in FOLDER, its processor seconds, its maximum memory,
                                                        and the last line that it printed
    python benches/attacks.py calibrate MODEL PICTURES MEAN STD
                                                        checks PyTorch's logits against ONNX Runtime's, then times one
                                                        gradient with every setting; prints all as JSON, the fastest first
    python benches/attacks.py right MODEL PICTURES LABELS COUNT MEAN STD FOLDER
                                                        keeps the first COUNT pictures that the network classifies correctly
                                                        by a clear margin, as x.npy and y.npy
    python benches/attacks.py serve MODEL PICTURES MEAN STD THREADS BATCH LAYOUT
                                                        answers every line with the seconds of one gradient
    python benches/attacks.py LIBRARY MODEL PICTURES LABELS COUNT EPS STEP STEPS MEAN STD THREADS BATCH LAYOUT
                                                        PGD by torchattacks or foolbox; prints accuracies and the seconds
                                                        of the attack itself as JSON

The networks are plain PyTorch modules with the weights of the ONNX files (goldens/cifar_networks.py), in eval mode, with frozen
parameters. Only the printed results are computed: no picture is saved and no perturbation is measured.
"""

import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

THREADS = (1, 2)
BATCHES = (64, 256)
LAYOUTS = ("contiguous", "channels_last")
ROUNDS = 5
# Minimum difference between the logits of the label and of the runner-up.
MARGIN = 0.1


def timed(folder, command):
    begun = time.perf_counter()
    said = tempfile.NamedTemporaryFile("r")
    stdout = (os.POSIX_SPAWN_OPEN, 1, said.name, os.O_WRONLY, 0)
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=[stdout])
    first = None
    adversarial = Path(folder) / "adversarial"
    while True:
        pid, status, usage = os.wait4(process, os.WNOHANG)
        if first is None and next(adversarial.glob("*/*.png"), None):
            first = time.perf_counter() - begun
        if pid:
            seconds = time.perf_counter() - begun
            break
        time.sleep(0.002)
    if status:
        sys.exit(f"{command} failed")
    processor = usage.ru_utime + usage.ru_stime
    answer = {"seconds": seconds, "first": first, "peak": usage.ru_maxrss / 1024, "processor": processor}
    print(json.dumps(answer | {"said": (said.read().splitlines() or [""])[-1]}))


def load(model, mean, std):
    sys.path.append(str(Path(__file__).parent.parent / "goldens"))
    import cifar_networks

    return cifar_networks.load(Path(model), numbers(mean), numbers(std))


def numbers(text):
    return [float(value) for value in text.split(",")]


def pixels(path, count):
    """[count, 3, 32, 32] in [0, 1]."""
    import numpy as np
    import torch

    return torch.from_numpy(np.load(path)[:count]).permute(0, 3, 1, 2).contiguous().float() / 255


def layout_of(name):
    import torch

    return {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[name]


def gradient(network, x, threads, layout):
    """Returns a function that computes the loss and the gradient of the pictures and returns the seconds it took."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    layout = layout_of(layout)
    network = network.to(memory_format=layout)
    x = x.contiguous(memory_format=layout).requires_grad_()
    labels = torch.arange(len(x)) % 10

    def seconds():
        begun = time.perf_counter()
        torch.autograd.grad(F.cross_entropy(network(x), labels, reduction="sum"), x)
        return time.perf_counter() - begun

    # The first call is slower than the others.
    seconds()
    return seconds


def calibrate(model, pictures, mean, std):
    network = load(model, mean, std)
    import cifar_networks

    x = pixels(pictures, max(BATCHES))
    gap = cifar_networks.check(network, Path(model), x[:64], numbers(mean), numbers(std))
    tried = []
    for threads, batch, layout in itertools.product(THREADS, BATCHES, LAYOUTS):
        # Without the normalisation, like the engines in that table.
        seconds = gradient(network.network, x[:batch], threads, layout)
        each = statistics.median(seconds() for _ in range(ROUNDS)) / batch
        tried.append({"threads": threads, "batch": batch, "layout": layout, "each": each})
    print(json.dumps({"gap": gap, "tried": sorted(tried, key=lambda one: one["each"])}))


def right(model, pictures, labels, count, mean, std, folder):
    network = load(model, mean, std)
    import numpy as np
    import torch

    x, y = np.load(pictures), np.load(labels)
    with torch.no_grad():
        logits = network(pixels(pictures, len(y)))
    first, second = logits.topk(2).values.T
    clear = (logits.argmax(1) == torch.from_numpy(y)) & (first - second > MARGIN)
    kept = clear.nonzero()[:count, 0].numpy()
    if len(kept) < count:
        sys.exit(f"only {len(kept)} pictures are classified correctly")
    Path(folder).mkdir(parents=True, exist_ok=True)
    np.save(f"{folder}/x.npy", x[kept])
    np.save(f"{folder}/y.npy", y[kept])
    print(json.dumps({"kept": len(kept)}))


def serve(model, pictures, mean, std, threads, batch, layout):
    seconds = gradient(load(model, mean, std).network, pixels(pictures, batch), threads, layout)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(seconds(), flush=True)


def attack(library, model, pictures, labels, count, eps, step, steps, mean, std, threads, batch, layout):
    network = load(model, mean, std).to(memory_format=layout_of(layout))
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = pixels(pictures, count).contiguous(memory_format=layout_of(layout))
    y = torch.from_numpy(np.load(labels)[:count]).long()
    if library == "torchattacks":
        import torchattacks

        pgd = torchattacks.PGD(network, eps=eps, alpha=step, steps=steps, random_start=True)

        def run(x, y):
            return pgd(x, y)

    else:
        import foolbox

        wrapped = foolbox.PyTorchModel(network, bounds=(0, 1))
        pgd = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=steps, random_start=True)

        def run(x, y):
            return pgd(wrapped, x, y, epsilons=eps)[1]

    before, after, begun = 0, 0, time.perf_counter()
    for pictures, truth in zip(x.split(batch), y.split(batch), strict=True):
        adversarial = run(pictures, truth)
        with torch.no_grad():
            clean = network(pictures).argmax(1) == truth
            robust = network(adversarial).argmax(1) == truth
        before += int(clean.sum())
        after += int((clean & robust).sum())
    seconds = time.perf_counter() - begun
    print(json.dumps({"clean": before / count, "robust": after / count, "attack": seconds}))


def main():
    match sys.argv[1:]:
        case ["time", folder, *command]:
            timed(folder, command)
        case ["calibrate", model, pictures, mean, std]:
            calibrate(model, pictures, mean, std)
        case ["right", model, pictures, labels, count, mean, std, folder]:
            right(model, pictures, labels, int(count), mean, std, folder)
        case ["serve", model, pictures, mean, std, threads, batch, layout]:
            serve(model, pictures, mean, std, int(threads), int(batch), layout)
        case ["torchattacks" | "foolbox" as library, model, pictures, labels, count, eps, step, steps, mean, std, *setting]:
            threads, batch, layout = setting
            ball = float(eps), float(step), int(steps)
            attack(library, model, pictures, labels, int(count), *ball, mean, std, int(threads), int(batch), layout)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
