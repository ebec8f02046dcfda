from dataclasses import replace

from model.classifier import Prediction
from model.labels import LABELS
from tests.tiny import tiny_rows
from training.corpus import Statement
from training.suspects import find_suspects


def _prediction(label: str) -> Prediction:
    probabilities = {each: 0.91 if each == label else 0.03 for each in LABELS}
    return Prediction(label, probabilities[label], False, probabilities, [label], 1)


def test_labels_that_were_swapped_are_suspected_and_the_models_label_is_suggested() -> None:
    right = [Statement(**row) for row in tiny_rows(200)]
    predictions = [_prediction(each.label) for each in right]
    swapped = {3, 50, 121}
    wrong = [
        replace(each, label=LABELS[(LABELS.index(each.label) + 1) % 4]) if index in swapped else each
        for index, each in enumerate(right)
    ]
    found = find_suspects(wrong, predictions, LABELS)
    assert {each.id for each in found} == {right[index].id for index in swapped}
    assert {each.probability for each in found} == {0.03}
    for suspect in found:
        index = next(index for index in swapped if right[index].id == suspect.id)
        assert (suspect.label, suspect.suggested) == (wrong[index].label, right[index].label)


def test_labels_that_the_model_believes_are_not_suspected() -> None:
    statements = [Statement(**row) for row in tiny_rows(80)]
    assert find_suspects(statements, [_prediction(each.label) for each in statements], LABELS) == []
