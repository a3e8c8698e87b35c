"""The peers' side of `cargo xtask bench peers`: whole attacks, from the start of the process to the last figure.

    python benches/attacks.py time FOLDER COMMAND ...          runs a command; prints its seconds, the seconds until the first
                                                              adversarial PNG in FOLDER, and the most memory it held, as JSON
    python benches/attacks.py LIBRARY MODEL PICTURES LABELS COUNT EPS STEP STEPS MEAN STD
                                                              PGD by torchattacks or foolbox; prints accuracies as JSON

The models are there only as ONNX files, which run in PyTorch operator by operator (goldens/onnx_in_torch.py), with frozen
parameters. Only what is printed is computed: no picture is saved and no perturbation measured.
"""

import json
import os
import sys
import time
from pathlib import Path

BATCH = 64
THREADS = 2


def timed(folder, command):
    begun = time.perf_counter()
    stdout = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
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
    print(json.dumps({"seconds": seconds, "first": first, "peak": usage.ru_maxrss / 1024}))


def attack(library, model, pictures, labels, count, eps, step, steps, mean, std):
    sys.path.append(str(Path(__file__).parent.parent / "goldens"))
    import numpy as np
    import torch
    from onnx_in_torch import Model

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    x = torch.from_numpy(np.load(pictures)[:count]).permute(0, 3, 1, 2).float() / 255
    y = torch.from_numpy(np.load(labels)[:count]).long()
    forward = Model(model, dtype=torch.float32)
    mean, std = (torch.tensor([float(v) for v in text.split(",")]).view(1, 3, 1, 1) for text in (mean, std))

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            # The libraries look for a device among the parameters.
            self.anchor = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

        def forward(self, x):
            return forward((x - mean) / std).flatten(1)

    network = Network().eval()
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

    right, robust = 0, 0
    for at in range(0, count, BATCH):
        pictures, truth = x[at : at + BATCH], y[at : at + BATCH]
        adversarial = run(pictures, truth)
        with torch.no_grad():
            before = network(pictures).argmax(1) == truth
            after = network(adversarial).argmax(1) == truth
        right += int(before.sum())
        robust += int((before & after).sum())
    print(json.dumps({"clean": right / count, "robust": robust / count}))


def main():
    match sys.argv[1:]:
        case ["time", folder, *command]:
            timed(folder, command)
        case ["torchattacks" | "foolbox" as library, model, pictures, labels, count, eps, step, steps, mean, std]:
            attack(library, model, pictures, labels, int(count), float(eps), float(step), int(steps), mean, std)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
