"""Fits the last linear layer anew on features that stay as they are: seconds, on any processor. Arrays in, arrays out.

The loss is that of the training: of the label, and beneath it of the act where somebody has said which. Of statements
that the network has learnt from already the layer shall say what it said before (learning without forgetting, Li and
Hoiem 2016, https://arxiv.org/abs/1606.09282): fitted to their labels once more, it would come out a little different
everywhere, for nothing that anybody has asked for. And it is held to where it was (L2-SP, Li et al. 2018,
https://arxiv.org/abs/1802.01483): it moves as far as the new statements ask, and what they do not speak of stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from training.head import Head, label_logits

__all__ = ["RefitConfig", "Targets", "class_weights", "refit"]

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class RefitConfig:
    """Settings of a quick training; they go into the manifest as they are.

    Attributes:
        own_weight: how many statements of the corpus one own statement counts for. 160 of a kind that was answered
            wrong count for 640 beside a corpus of 4,455: enough to be right on all of those held out.
        pull: of the layer to where it was, relative to the mean square of the features' norm. Ten times as much held
            the head back from what own statements asked, a thirtieth let the test split pay for it.
        act_weight: how much the loss of the act beneath the label counts beside that of the label.
        label_smoothing: share of the target spread over all labels.
        class_weight_power: a label's loss is weighted by its count to the minus this.
        max_steps: of the optimiser.
    """

    own_weight: float = 4.0
    pull: float = 0.0003
    act_weight: float = 0.5
    label_smoothing: float = 0.05
    class_weight_power: float = 0.5
    max_steps: int = 100


@dataclass(frozen=True)
class Targets:
    """What statements are fitted to.

    Attributes:
        labels: indices, shape (n,).
        outputs: index of the act among the layer's outputs, shape (n,); -1 where nobody has said.
        weights: shape (n,).
        kept: places of the statements of which the layer shall say what it said before, whatever their label; (k,).
        said: probabilities of the outputs that these had, shape (k, outputs).
    """

    labels: Indices
    outputs: Indices
    weights: Floats
    kept: Indices
    said: Floats


def class_weights(labels: Indices, counted: Floats, power: float) -> Floats:
    """Return a weight a statement: its label's count to the minus `power`; `counted` is what each counts for."""
    counts = np.bincount(labels, weights=counted)
    return np.asarray(np.maximum(counts, 1.0)[labels] ** -power)


def refit(head: Head, features: Floats, targets: Targets, config: RefitConfig) -> Head:
    """Return the head with the weights of least loss, from where they are now.

    Args:
        head: to fit.
        features: shape (n, width).
        targets: of the n statements.
        config: of the run.
    """
    width = features.shape[1]
    rows = np.concatenate([features, np.ones((len(features), 1))], axis=1, dtype=np.float32)  # the bias reads ones
    start = np.concatenate([head.weight, head.bias[:, None]], axis=1).astype(np.float64)  # (outputs, width + 1)
    weights = (targets.weights / targets.weights.sum()).astype(np.float32)
    goal = replace(targets, weights=weights)
    pull = config.pull * float((features**2).sum(axis=1).mean())

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        layer = flat.reshape(start.shape)
        value, slope = _loss(rows @ layer.astype(np.float32).T, head.widths, goal, config)
        moved = layer - start
        gradient = slope.T @ rows + pull * moved
        return value + pull / 2 * float((moved**2).sum()), gradient.ravel().astype(np.float64)

    options = {"maxiter": config.max_steps, "ftol": 1e-7}
    # The stubs take a function of arrays of one dimension, which those of reshape are not known to be.
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)  # type: ignore[call-overload]
    layer = found.x.reshape(start.shape)
    return replace(head, weight=layer[:, :width].astype(np.float32), bias=layer[:, width].astype(np.float32))


def _loss(outputs: Floats, widths: Sequence[int], targets: Targets, config: RefitConfig) -> tuple[float, Floats]:
    """Return the weighted loss of outputs, (n, outputs), in nats, and its slope in them, of the same shape."""
    of_labels = label_logits(outputs, widths)  # (n, labels)
    total = label_logits(outputs, [outputs.shape[1]])  # (n, 1)
    place = np.repeat(np.arange(len(widths)), widths)  # (outputs,), the label of each
    rows = np.arange(len(outputs))
    share = np.exp(outputs - of_labels[:, place])  # of an act within its label
    wanted = np.full(of_labels.shape, config.label_smoothing / len(widths), dtype=outputs.dtype)
    wanted[rows, targets.labels] += 1 - config.label_smoothing
    losses = -(wanted * (of_labels - total)).sum(axis=1)
    slope = np.exp(outputs - total) - wanted[:, place] * share
    known = np.flatnonzero(targets.outputs >= 0)
    acts, labels = targets.outputs[known], targets.labels[known]
    # The log of the probability of the act given the label: both are relative to the same sum.
    losses[known] -= config.act_weight * (outputs[known, acts] - of_labels[known, labels])
    slope[known] += config.act_weight * share[known] * (place == labels[:, None])
    slope[known, acts] -= config.act_weight
    kept = targets.kept
    says = outputs[kept] - total[kept]
    losses[kept] = -(targets.said * says).sum(axis=1)
    slope[kept] = np.exp(says) - targets.said
    return float(targets.weights @ losses), slope * targets.weights[:, None]
