"""Reference numbers for the measures of natural adversarial examples.

Detection comes from scikit-learn. The calibration measures and one FPR95 follow the definitions of the script
`calibration_tools.py` in github.com/hendrycks/natural-adv-examples, written anew: sort by confidence, bins of 100 of which the
last takes the rest, and a loop that leaves the last bin out. All of it is in float64.

    pip install scikit-learn==1.9.1 numpy scipy
    python goldens/natural.py > goldens/natural.json
"""

import json
import sys

import numpy as np
from scipy import optimize, special, stats
from sklearn import metrics


def bin_gaps(confidence, right, leave_out_last):
    order = np.argsort(confidence, kind="stable")
    confidence, right = confidence[order], right[order].astype(float)
    count = max(len(confidence) // 100, 1)
    ends = [100 * (at + 1) for at in range(count - 1)] + [len(confidence)]
    starts = [0] + ends[:-1]
    gaps = [
        ((end - start) / len(confidence), abs(confidence[start:end].mean() - right[start:end].mean()))
        for start, end in zip(starts, ends)
    ]
    return gaps[:-1] if leave_out_last else gaps


def calibration(confidence, right, leave_out_last):
    gaps = bin_gaps(confidence, right, leave_out_last)
    return {
        "rms": float(np.sqrt(sum(share * gap**2 for share, gap in gaps))),
        "mad": float(sum(share * gap for share, gap in gaps)),
        "max": float(max([gap for _, gap in gaps], default=0.0)),
    }


def expected_calibration_error(confidence, right, bins=15):
    edges = np.linspace(0, 1, bins + 1)
    at = np.digitize(confidence, edges, right=True)
    return float(
        sum((at == b).mean() * abs(confidence[at == b].mean() - right[at == b].mean()) for b in np.unique(at))
    )


def aurra(confidence, right):
    order = np.argsort(confidence, kind="stable")[::-1]
    return float(np.mean(np.cumsum(right[order]) / np.arange(1, len(right) + 1)))


def soft_f1(confidence, right):
    wrong = 1.0 - right
    return float(2 * ((1 - confidence) * wrong).sum() / (1 - confidence + wrong).sum())


def log_loss(logits, labels, temperature):
    scaled = logits / temperature
    return float(np.mean(special.logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]))


def temperature_by_script(logits, labels, lower=0.2, upper=5.0, width=1e-4):
    def slope(temperature):
        p = special.softmax(logits / temperature, axis=1)
        own = logits[np.arange(len(labels)), labels]
        return np.mean(own - (p * logits).sum(axis=1)) / temperature**2

    while upper - lower > width:
        middle = 0.5 * (lower + upper)
        if slope(middle) > 0:
            upper = middle
        else:
            lower = middle
    return min([lower, 0.5 * (lower + upper), upper], key=lambda t: log_loss(logits, labels, t))


def best_temperature(logits, labels):
    found = optimize.minimize_scalar(
        lambda t: log_loss(logits, labels, np.exp(t)), bounds=(-5, 5), method="bounded", options={"xatol": 1e-12}
    )
    return float(np.exp(found.x))


def gini(counts):
    counts = np.asarray(counts, dtype=float)
    return float(np.abs(counts[:, None] - counts[None, :]).sum() / (2 * len(counts) ** 2 * counts.mean()))


def answers(rng, count, classes, subset, sharpness):
    labels = rng.choice(subset, count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), labels] += 1.1
    logits = np.round(logits * sharpness, 3)
    selected = logits[:, subset]
    places = np.searchsorted(subset, labels)
    p = special.softmax(selected, axis=1)
    said, confidence = selected.argmax(axis=1), p.max(axis=1)
    right = said == places
    counts = np.bincount(said, minlength=len(subset))
    top = lambda k, z, y: float((np.argsort(-z, axis=1, kind="stable")[:, :k] == y[:, None]).any(axis=1).mean())
    return {
        "subset": [int(c) for c in subset],
        "logits": logits.tolist(),
        "labels": labels.tolist(),
        "expected": {
            "top1": float(right.mean()),
            "top5": top(5, selected, places),
            "unmasked_top1": top(1, logits, labels),
            "unmasked_top5": top(5, logits, labels),
            "standard": calibration(confidence, right, False),
            "nae": calibration(confidence, right, True),
            "ece": expected_calibration_error(confidence, right),
            "aurra": aurra(confidence, right),
            "soft_f1": soft_f1(confidence, right),
            "temperature": best_temperature(selected, places),
            "temperature_nae": temperature_by_script(selected, places),
            "entropy": float(stats.entropy(counts)),
            "gini": gini(counts),
        },
    }


def false_positive_rate(truth, score):
    fpr, tpr, _ = metrics.roc_curve(truth, score, drop_intermediate=False)
    return float(fpr[np.argmax(tpr >= 0.95)])


def false_positive_rate_by_script(truth, score):
    """The threshold, among distinct scores down to the first with all positives, whose recall is nearest to 95%."""
    thresholds = np.unique(score)[::-1]
    found = np.array([(score[truth == 1] >= t).sum() for t in thresholds])
    false = np.array([(score[truth == 0] >= t).sum() for t in thresholds])
    recall = found / found[-1]
    last = int(np.argmax(found == found[-1]))
    backwards = np.arange(last, -1, -1)
    at = backwards[np.argmin(np.abs(recall[backwards] - 0.95))]
    return float(false[at] / (truth == 0).sum())


def detection(known, unknown):
    score = np.concatenate([unknown, known])
    truth = np.concatenate([np.ones(len(unknown), int), np.zeros(len(known), int)])
    precision, recall, _ = metrics.precision_recall_curve(truth, score)
    return {
        "auroc": float(metrics.roc_auc_score(truth, score)),
        "aupr": float(metrics.average_precision_score(truth, score)),
        "aupr_trapezoid": float(metrics.auc(recall, precision)),
        "fpr95_ood": false_positive_rate(truth, score),
        "fpr95_id": false_positive_rate(1 - truth, -score),
        "fpr95_ood_nae": false_positive_rate_by_script(truth, score),
        "fpr95_id_nae": false_positive_rate_by_script(1 - truth, -score),
    }


def scores(logits):
    p = special.softmax(logits, axis=1)
    return {
        "msp": -p.max(axis=1),
        "max-logit": -logits.max(axis=1),
        "energy": -special.logsumexp(logits, axis=1),
        "entropy": stats.entropy(p, axis=1),
    }


def main():
    rng = np.random.default_rng(20261126)
    sets = [
        answers(rng, 457, 12, np.array([0, 2, 3, 5, 7, 8, 11]), 2.0),
        answers(rng, 200, 8, np.arange(8), 0.7),
        answers(rng, 333, 9, np.array([1, 2, 4, 6, 8]), 4.0),
    ]
    known = np.round(rng.normal(size=(300, 6)) * 2.0, 3)
    known[np.arange(300), rng.integers(0, 6, 300)] += 4.0
    known = np.round(known, 3)
    unknown = np.round(rng.normal(size=(77, 6)) * 2.2, 3)
    by_score = {
        name: detection(known_scores, scores(unknown)[name]) for name, known_scores in scores(known).items()
    }
    ties = []
    for at in range(6):
        few = rng.integers(0, 12, 40 + 20 * at) / 4
        more = (rng.integers(0, 12, 21 + 7 * at) + at) / 4
        ties.append({"known": few.tolist(), "unknown": more.tolist(), "expected": detection(few, more)})
    json.dump(
        {
            "answers": sets,
            "known": known.tolist(),
            "unknown": unknown.tolist(),
            "detection": by_score,
            "ties": ties,
        },
        sys.stdout,
    )
    print()


if __name__ == "__main__":
    main()
