"""Compares hoodwink's attacks with their reference implementations, picture by picture.

    python goldens/beside.py HOODWINK ASSETS FOLDER [NAME ...]

runs HOODWINK on the pictures of each golden in goldens/attacks (or of those named), into FOLDER. It prints one line of
a Markdown table for each: what the reference found, what hoodwink found, and on how many pictures they agree. `seed=N`
among the names sets hoodwink's seed. goldens/attacks.py made the goldens and names the references. An existing run is
resumed, not repeated.

Needs numpy and pyarrow.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

HERE = Path(__file__).parent


def run(program, assets, folder, golden, attack, norm, eps, rows, more):
    words = [golden["model"][:-5], attack, norm, str(eps or "smallest"), *more]
    out = folder / re.sub(r"[^a-z0-9.]+", "-", "-".join(words))
    pictures = assets / golden["pictures"]
    command = [program, "attack", assets / "cifar10/models" / golden["model"], pictures]
    command += ["--labels", str(pictures).replace("_x_u8_NHWC", "_y")]
    command += ["--mean=" + ",".join(map(str, golden["mean"])), "--std=" + ",".join(map(str, golden["std"]))]
    command += ["--skip", str(rows[0]), "--limit", str(rows[1] - rows[0]), "--attack", attack, "--norm", norm, "--out", out]
    command += [f"--eps={eps}"] if eps else []
    command += ["--no-lint", "--quiet", *more]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    parts = sorted((out / "samples").glob("*.parquet"))
    table = [row for part in parts for row in pq.read_table(part).to_pylist()]
    return sorted(table, key=lambda row: row["index"])


def bits(text):
    return np.array([bit == "1" for bit in text])


def quantiles(values):
    return " / ".join(f"{np.quantile(values, q):.4f}" for q in (0.1, 0.5, 0.9))


def verdicts(program, assets, folder, golden, reference, attack, more):
    """Compares robust accuracies, and counts the pictures with the same verdict."""
    norm, eps = reference["norm"].lower(), reference["eps"]
    rows = run(program, assets, folder, golden, attack, norm, eps, golden["rows"], more)
    right, theirs = bits(golden["right"]), bits(reference["robust"])
    ours = np.array([row["label"] == row["clean_label"] and not row["float_success"] for row in rows])
    same_clean = sum((row["label"] == row["clean_label"]) == one for row, one in zip(rows, right))
    weaker, stronger = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    print(
        f"| {golden['model'][:-5]} | {attack} | {norm} | {eps:.4g} | {len(right)} | {theirs.sum()} | {ours.sum()} |"
        f" {(ours == theirs).mean():.1%} | {weaker} | {stronger} | {same_clean} |",
        flush=True,
    )


def distances(program, assets, folder, golden, reference, attack, theirs, more):
    norm = reference["norm"].lower()
    rows = run(program, assets, folder, golden, attack, norm, None, golden["rows"], more)
    there = [at for at, one in enumerate(theirs) if one is not None]
    theirs = np.array([theirs[at] for at in there])
    ours = np.array([rows[at][f"float_{norm}"] if rows[at]["float_success"] else np.inf for at in there])
    print(
        f"| {golden['model'][:-5]} | {attack} {' '.join(more)} | {norm} | {len(there)} | {quantiles(theirs)} | {quantiles(ours)} |"
        f" {np.median(ours) / np.median(theirs):.3f} | {np.median(ours / theirs):.3f} | {(ours < theirs).mean():.0%} |",
        flush=True,
    )


def main(program, assets, folder, *names):
    assets, folder = Path(assets), Path(folder)
    seeds = [name.removeprefix("seed=") for name in names if name.startswith("seed=")]
    names = [name for name in names if not name.startswith("seed=")]
    seed = ["--seed", seeds[0]] if seeds else []
    goldens = sorted((HERE / "attacks").glob("*.json"))
    for path in goldens:
        if names and path.stem not in names:
            continue
        golden = json.loads(path.read_text())
        for reference in golden["runs"]:
            if reference["seed"] != 0:
                continue
            attack = reference["attack"]
            if attack.startswith("apgd"):
                verdicts(program, assets, folder, golden, reference, attack, seed)
            elif attack == "square":
                verdicts(program, assets, folder, golden, reference, f"square(queries={reference['queries']})", seed)
            elif attack == "ddn":
                named = f"ddn(steps={reference['steps']})"
                distances(program, assets, folder, golden, reference, named, reference["distance"], seed)
            elif attack == "hopskipjump":
                for budget, best in zip(reference["budgets"], reference["best"]):
                    distances(program, assets, folder, golden, reference, attack, best, ["--max-queries", str(budget), *seed])


if __name__ == "__main__":
    main(*sys.argv[1:])
