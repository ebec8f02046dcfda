"""Statements whose label a model doubts: confident learning over what the model was not trained on.

After Northcutt, Jiang and Chuang, *Confident Learning* (2021, arXiv 1911.00068), as cleanlab computes it. A suspicion
is a reason to read the statement again, not a reason to change its label: where the model is weak, it suspects the
statements that are right and hard.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cleanlab.filter import find_label_issues

from model.classifier import Prediction
from training.corpus import Statement, gold_indices

__all__ = ["Suspect", "find_suspects"]


@dataclass(frozen=True)
class Suspect:
    """A label that is suspected to be wrong.

    Attributes:
        id: of the statement.
        label: that it has.
        suggested: that the model finds likeliest.
        probability: that the model gives the label it has; the list begins with the least.
    """

    id: str
    label: str
    suggested: str
    probability: float


def find_suspects(
    statements: Sequence[Statement], predictions: Sequence[Prediction], labels: Sequence[str]
) -> list[Suspect]:
    """Return the suspects among statements that the model has not seen in training, the least believed label first."""
    probabilities = np.array([[each.probabilities[label] for label in labels] for each in predictions])
    gold = gold_indices(statements, labels)
    found = find_label_issues(gold, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [
        Suspect(
            statements[index].id,
            statements[index].label,
            labels[int(probabilities[index].argmax())],
            round(float(probabilities[index, gold[index]]), 4),
        )
        for index in found.tolist()
    ]
