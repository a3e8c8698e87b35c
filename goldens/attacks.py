"""Runs reference attacks on the models of the assets folder and writes their results for each picture.

    python goldens/attacks.py --assets ASSETS --auto-attack FOLDER --out goldens/attacks [PART ...]

FOLDER is a checkout of github.com/fra31/auto-attack, the authors' own code of APGD and Square. DDN comes from adv-lib
and HopSkipJump from foolbox. A PART is the start of a golden's name, such as `ddn` or `apgd-resnet`; by default all are
made. README.md describes the files.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

import cifar_networks
from assets import ASSETS, load_pictures

ROWS = 128
STEPS = 100
# As in AutoAttack's standard version for the L-infinity and L2 norms.
TARGETS = 9
QUERIES = 5000
BUDGETS = (1000, 2500, 5000)

# From the fastest to the slowest.
MODELS = ["cifar_cnn_a_adv", "resnet_2b_adv2", "vit_pgd_2_3_16", "resnet20_akamaster"]

PLAIN = [("Linf", 1 / 255), ("Linf", 2 / 255), ("L2", 0.25), ("L1", 4.0)]
ADVERSARIAL = [("Linf", 2 / 255), ("Linf", 8 / 255), ("L2", 0.5), ("L1", 8.0)]
SQUARE = {
    "resnet_2b_adv2": [("Linf", 2 / 255), ("L2", 0.5)],
    "resnet20_akamaster": [("Linf", 1 / 255), ("L2", 0.25)],
}


class Interpreted(nn.Module):
    """A model without a PyTorch module, run operator by operator."""

    def __init__(self, asset, root):
        super().__init__()
        self.asset, self.model = asset, asset.load(root, torch.float32)

    def forward(self, x):
        return self.asset.logits(self.model, x)


@dataclass
class Case:
    """A network, its pictures, and which of them it classifies correctly, all `[N, ...]`."""

    name: str
    network: nn.Module
    x: torch.Tensor
    labels: torch.Tensor
    right: torch.Tensor
    header: dict
    # For attacks that need no gradient: the same logits, computed faster.
    scores: nn.Module

    @classmethod
    def load(cls, root, name):
        (asset,) = [asset for asset in ASSETS if asset.model == name]
        pictures = load_pictures(root, asset, range(ROWS), torch.float32)
        path, (mean, std) = root / asset.folder / f"{name}.onnx", asset.norm
        if name in cifar_networks.NETWORKS:
            network = cifar_networks.load(path, mean, std)
        else:
            network = Interpreted(asset, root).eval()
        cifar_networks.check(network, path, pictures.x, mean, std)
        right = predicted(network, pictures.x) == pictures.labels
        header = {"model": path.name, "mean": mean, "std": std, "pictures": "cifar10/test_0-499_x_u8_NHWC.npy"}
        # AutoAttack refuses gradients in any other layout.
        runtime = cifar_networks.Runtime(path, mean, std)
        scores = network if runtime.batch else runtime.eval()
        return cls(name, network, pictures.x.contiguous(), pictures.labels, right, header, scores)

    def first(self, count):
        """Returns the same case with the first pictures only."""
        return replace(self, x=self.x[:count], labels=self.labels[:count], right=self.right[:count])

    def attacked(self):
        """Returns the correctly classified pictures and their labels."""
        return self.x[self.right], self.labels[self.right]

    def spread(self, values):
        """Returns a value for each picture; null for those that are misclassified without an attack."""
        values = iter(values)
        return [next(values) if right else None for right in self.right.tolist()]

    def robust(self, adversarial, norm, eps):
        """Returns for each picture whether it is still classified correctly at its entry of `adversarial` `[right,
        ...]`, which must lie in the ball."""
        x, labels = self.attacked()
        distance, slack = distances(adversarial, x, norm).max().item(), 1e-5 * eps + 1e-6
        if not (distance <= eps + slack and adversarial.min() >= 0 and adversarial.max() <= 1):
            raise ValueError(f"{self.name}: {norm} {distance} is outside of the ball of {eps}, or a pixel outside of [0, 1]")
        flags = self.right.clone()
        flags[self.right] = predicted(self.network, adversarial) == labels
        return flags

    def golden(self, reference, runs, packages):
        """Returns the content of a file."""
        versions = {name: version(name) for name in ("torch", "numpy", *packages)}
        rows = {"rows": [0, len(self.x)], "right": flags_text(self.right)}
        return {"reference": reference, "versions": versions, **self.header, **rows, "runs": runs}


def predicted(network, x):
    with torch.no_grad():
        return network(x).argmax(1)


def distances(a, b, norm):
    """Returns the distance of each pair of pictures, in float64."""
    order = {"Linf": torch.inf, "L2": 2, "L1": 1}[norm]
    return (a.double() - b.double()).flatten(1).norm(p=order, dim=1)


def flags_text(flags):
    """Returns one digit per picture."""
    return "".join("01"[flag] for flag in flags.tolist())


def rounded(value):
    return float(f"{value:.6g}")


def apgd(case, seeds):
    """APGD with cross-entropy, DLR, and targeted DLR towards the most likely wrong classes; one random start, each run
    separately."""
    from autoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    from autoattack.other_utils import Logger

    runs = []
    balls = PLAIN if case.name == "resnet20_akamaster" else ADVERSARIAL
    x, labels = case.attacked()
    for seed in seeds:
        for norm, eps in balls:
            # In the L1 norm the radius decreases from three times eps, as in AutoAttack's standard version.
            settings = {"n_iter": STEPS, "norm": norm, "n_restarts": 1, "eps": eps, "seed": seed, "device": "cpu"}
            settings |= {"use_largereps": norm == "L1", "logger": Logger(None)}
            attacks = {
                "apgd-ce": APGDAttack(case.network, loss="ce", **settings),
                "apgd-dlr": APGDAttack(case.network, loss="dlr", **settings),
                "apgd-t": APGDAttack_targeted(case.network, n_target_classes=TARGETS, **settings),
            }
            for name, attack in attacks.items():
                robust = case.robust(attack.perturb(x, labels), norm, eps)
                run = {"attack": name, "norm": norm, "eps": eps, "steps": STEPS, "restarts": 1, "seed": seed}
                if name == "apgd-t":
                    run["targets"] = TARGETS
                runs.append(run | {"robust": flags_text(robust)})
                yield case.golden("github.com/fra31/auto-attack, a392204", runs, ()), f"{name} {norm} {eps:.4g}: {share(robust)}"


def ddn(case, seeds):
    """DDN: a distance for each picture; null if nothing was found."""
    # adv-lib only needs it to draw curves, and it cannot be installed everywhere.
    sys.modules.setdefault("visdom", ModuleType("visdom"))
    from adv_lib.attacks.decoupled_direction_norm import ddn as attack

    runs = []
    x, labels = case.attacked()
    for steps in (100, 1000):
        torch.manual_seed(seeds[0])
        adversarial = attack(case.network, x, labels, steps=steps, init_norm=1.0, γ=0.05, levels=256)
        found = predicted(case.network, adversarial) != labels
        far = distances(adversarial, x, "L2")
        values = [rounded(value) if hit else None for value, hit in zip(far.tolist(), found.tolist(), strict=True)]
        settings = {"attack": "ddn", "norm": "L2", "steps": steps, "init_norm": 1.0, "gamma": 0.05, "levels": 256}
        runs.append(settings | {"seed": seeds[0], "distance": case.spread(values)})
        said = f"ddn {steps} steps: median {far[found].median():.4f}, not found {(~found).sum()}"
        yield case.golden("adv-lib", runs, ("adv-lib",)), said


def square(case, seeds):
    """Square: the robust pictures, and the number of queries until each picture fell."""
    from autoattack.square import SquareAttack

    class Counted(SquareAttack):
        def attack_single_run(self, x, y):
            self.queries, adversarial = super().attack_single_run(x, y)
            return self.queries, adversarial

    runs = []
    case = case.first(64)
    x, labels = case.attacked()
    for seed in seeds:
        for norm, eps in SQUARE[case.name]:
            settings = {"n_queries": QUERIES, "eps": eps, "p_init": 0.8, "n_restarts": 1, "seed": seed, "device": "cpu"}
            attack = Counted(case.scores, norm=norm, resc_schedule=False, **settings)
            robust = case.robust(attack.perturb(x, labels), norm, eps)
            run = {"attack": "square", "norm": norm, "eps": eps, "queries": QUERIES, "p_init": 0.8, "seed": seed}
            asked = [int(count) for count in attack.queries.tolist()]
            runs.append(run | {"robust": flags_text(robust), "asked": case.spread(asked)})
            yield case.golden("github.com/fra31/auto-attack, a392204", runs, ()), f"square {norm} {eps:.4g}: {share(robust)}"


class SpentError(Exception):
    """The query budget is spent."""


class Asked(nn.Module):
    """A network that counts the pictures it is asked about, keeps the smallest distance among those that fool it, and
    raises an error after the last budget."""

    def __init__(self, network, x, label, norm):
        super().__init__()
        self.network, self.x, self.label, self.norm = network, x, label, norm
        self.count, self.best, self.current = 0, None, None
        self.at = {}

    def forward(self, x):
        if self.count == BUDGETS[-1]:
            raise SpentError
        (picture,) = x
        logits = self.network(x)
        self.count += 1
        if logits.argmax().item() != self.label:
            far = self.far(picture)
            self.best = far if self.best is None else min(self.best, far)
        self.mark()
        return logits

    def far(self, picture):
        return distances(picture[None], self.x, self.norm).item()

    def mark(self):
        if self.count in BUDGETS:
            self.at[self.count] = (self.best, self.current)


def hopskipjump(case, seeds):
    """HopSkipJump, picture by picture: the distances after given numbers of queries, including those of the start, the
    binary searches and the attack's own checks. `best` is the smallest distance of all queried points, `current` that
    of the last point moved back to the boundary, which foolbox would have returned."""
    import foolbox

    class Watched(foolbox.attacks.HopSkipJumpAttack):
        def _binary_search(self, is_adversarial, originals, perturbed):
            point = super()._binary_search(is_adversarial, originals, perturbed)
            self.asked.current = self.asked.far(point.raw[0])
            return point

    runs = []
    case = case.first(32)
    for norm in ("L2", "Linf"):
        found = []
        for row in case.right.nonzero().flatten().tolist():
            x, label = case.x[row : row + 1], case.labels[row : row + 1]
            asked = Asked(case.scores, x, label.item(), norm).eval()
            attack = Watched(constraint=norm.lower(), steps=64, gamma=1.0)
            attack.asked = asked
            model = foolbox.PyTorchModel(asked, bounds=(0, 1), device="cpu")
            torch.manual_seed(seeds[0] + row)
            try:
                attack.run(model, x, foolbox.criteria.Misclassification(label))
            except SpentError:
                pass
            except ValueError as error:
                print(f"{case.name} row {row}: {error}", file=sys.stderr)
            found.append(asked.at)
        settings = {"attack": "hopskipjump", "norm": norm, "steps": 64, "gamma": 1.0, "seed": seeds[0], "budgets": BUDGETS}
        run, said = {}, []
        for at, name in enumerate(("best", "current")):
            columns = [[none_or_rounded(marks.get(budget, (None, None))[at]) for marks in found] for budget in BUDGETS]
            run[name] = [case.spread(column) for column in columns]
            medians = [sorted(far if far is not None else torch.inf for far in column) for column in columns]
            said.append(f"{name} {[column[len(column) // 2] for column in medians]}")
        runs.append(settings | run)
        yield case.golden("foolbox", runs, ("foolbox", "eagerpy")), f"hopskipjump {norm}: medians {'; '.join(said)}"


def none_or_rounded(value):
    return None if value is None else rounded(value)


def share(flags):
    return f"{flags.sum()} of {len(flags)} withstand ({100 * flags.float().mean():.1f}%)"


# From the fastest to the slowest: the name of the attack and of the model.
PARTS = [
    *((ddn, name) for name in MODELS[:3]),
    *((apgd, name) for name in MODELS[:2]),
    (square, "resnet_2b_adv2"),
    (hopskipjump, "resnet_2b_adv2"),
    (apgd, "vit_pgd_2_3_16"),
    *((attack, "resnet20_akamaster") for attack in (ddn, apgd, square, hopskipjump)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--auto-attack", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("parts", nargs="*", default=[""])
    options = parser.parse_args()
    sys.path.append(str(options.auto_attack))
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    for attack, model in PARTS:
        name = f"{attack.__name__}-{model}"
        if not name.startswith(tuple(options.parts)):
            continue
        begun = time.perf_counter()
        for golden, said in attack(Case.load(options.assets, model), options.seeds):
            text = json.dumps(golden, indent=1, ensure_ascii=False)
            (options.out / f"{name}.json").write_text(compact(text) + "\n", encoding="utf-8")
            print(f"{name}: {said} ({time.perf_counter() - begun:.0f} s)", flush=True)


def compact(text):
    """Formats JSON with each list of numbers on one line."""
    return re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found.group().split()), text)


if __name__ == "__main__":
    main()
