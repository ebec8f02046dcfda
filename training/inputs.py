"""What a training loop starts from: a pretrained encoder under a fresh head, and statements as token ids."""

from collections.abc import Sequence

import transformers
from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from training.base import BaseWeights
from training.config import FitConfig
from training.corpus import Statement, gold_indices
from training.errors import BaseWeightsError
from training.network import MeanPoolClassifier

__all__ = ["load_encoder", "tokenise"]


def load_encoder(base: BaseWeights, labels: tuple[str, ...]) -> tuple[PreTrainedTokenizerBase, MeanPoolClassifier]:
    """Return the tokenizer of `base`, and its encoder under a new head for `labels`.

    Raises:
        BaseWeightsError: there is nothing there, or something of another kind.
    """
    transformers.logging.set_verbosity_error()  # its notes on unused pooler weights would read like a fault
    transformers.logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.location)
        return tokenizer, MeanPoolClassifier.from_encoder(base.location, labels)
    except (OSError, ValueError) as error:  # no such folder or hub id, no network, files of another kind
        raise BaseWeightsError(f"the base {base.name!r} cannot be loaded: {error}") from error


def tokenise(statements: Sequence[Statement], tokenizer: PreTrainedTokenizerBase, config: FitConfig) -> Dataset:
    """Return one row a statement: unpadded `input_ids`, cut to one window, and `label`, its index in the label set."""
    texts = [each.text for each in statements]
    ids = tokenizer(texts, truncation=True, max_length=config.max_tokens)["input_ids"]
    return Dataset.from_dict({"input_ids": ids, "label": gold_indices(statements, config.labels)})
