"""The attack losses, one value per picture; the attacker maximises each.

`z` are logits [N, K], `y` true labels [N], `t` target labels [N].
DLR and targeted DLR: Croce and Hein, arXiv 2003.01690, section 5.
"""

import torch
import torch.nn.functional as F


def pick(z, y):
    return z.gather(1, y[:, None])[:, 0]


def best_other(z, y):
    """Returns the largest logit of any class other than y."""
    return z.masked_fill(F.one_hot(y, z.shape[1]).bool(), -torch.inf).amax(1)


def cross_entropy(z, y, t=None):
    return F.cross_entropy(z, y, reduction="none")


def margin(z, y, t=None):
    return best_other(z, y) - pick(z, y)


def dlr(z, y, t=None):
    ranked = z.sort(1, descending=True).values
    return -(pick(z, y) - best_other(z, y)) / (ranked[:, 0] - ranked[:, 2])


def dlr_targeted(z, y, t):
    ranked = z.sort(1, descending=True).values
    return -(pick(z, y) - pick(z, t)) / (ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2)


def cross_entropy_targeted(z, y, t):
    """CE(y) - CE(t)."""
    return cross_entropy(z, y) - cross_entropy(z, t)


OTHERS = {f.__name__: f for f in (margin, dlr, dlr_targeted, cross_entropy_targeted)}
