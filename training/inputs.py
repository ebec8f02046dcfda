"""What a training loop starts from: a pretrained encoder under a fresh head, and statements as token ids."""

from collections.abc import Mapping, Sequence

import transformers
from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from model.labels import ACTS
from training.base import BaseWeights
from training.config import FitConfig
from training.corpus import Statement, act_indices, gold_indices
from training.errors import BaseWeightsError
from training.network import MeanPoolClassifier

__all__ = ["acts_of", "load_encoder", "tokenise"]


Acts = Mapping[str, Sequence[str]]


def acts_of(statements: Sequence[Statement], labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the acts that occur beneath each label, in the order of the codebook, then of the alphabet."""
    found = {label: {each.act for each in statements if each.label == label} - {None} for label in labels}
    in_codebook = [act for acts in ACTS.values() for act in acts]
    order = {act: place for place, act in enumerate(in_codebook)}
    return {
        label: tuple(sorted((str(act) for act in acts), key=lambda act: (order.get(act, len(order)), act)))
        for label, acts in found.items()
    }


def load_encoder(
    base: BaseWeights, labels: Sequence[str], acts: Acts
) -> tuple[PreTrainedTokenizerBase, MeanPoolClassifier]:
    """Return the tokenizer of `base`, and its encoder under a new head for `labels` and the acts of each.

    Raises:
        BaseWeightsError: there is nothing there, or something of another kind.
    """
    transformers.logging.set_verbosity_error()  # its notes on unused pooler weights would read like a fault
    transformers.logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.location)
        return tokenizer, MeanPoolClassifier.from_encoder(base.location, labels, acts)
    except (OSError, ValueError) as error:  # no such folder or hub id, no network, files of another kind
        raise BaseWeightsError(f"the base {base.location!r} cannot be loaded: {error}") from error


def tokenise(
    statements: Sequence[Statement],
    tokenizer: PreTrainedTokenizerBase,
    config: FitConfig,
    acts: Acts,
    unlabelled: Sequence[str] = (),
) -> Dataset:
    """Return one row a statement, and after them one for each unlabelled text, its label and act -1.

    Its columns are `input_ids`, unpadded and cut to one window, `label`, the index in the label set, and `act`, the
    index among the network's outputs, -1 where nobody has said.
    """
    texts = [*(each.text for each in statements), *unlabelled]
    nothing = [-1] * len(unlabelled)
    ids = tokenizer(texts, truncation=True, max_length=config.max_tokens)["input_ids"]
    return Dataset.from_dict(
        {
            "input_ids": ids,
            "label": [*gold_indices(statements, config.labels).tolist(), *nothing],
            "act": [*act_indices(statements, config.labels, acts).tolist(), *nothing],
        }
    )
