"""Trains only the upper layers of an encoder: what the frozen lower ones make of a statement is computed once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import ConfigError
from training.network import MeanPoolClassifier

__all__ = ["FrozenLayers"]


class FrozenLayers:
    """The lowest layers and the embeddings of a network's encoder, frozen, and what they answered so far.

    Everything of the encoder but its upper layers is frozen, parameters that layers share included: the lower ones
    would answer otherwise once those have moved. Answers are kept as float16 on the processor: some 70 kB a statement
    of 46 tokens for an encoder of width 768.
    """

    def __init__(self, network: MeanPoolClassifier, count: int) -> None:
        """Freeze.

        Args:
            network: whose encoder it is.
            count: of layers to freeze; at least one is left to train.

        Raises:
            ConfigError: the encoder does not keep its layers as BERT, RoBERTa and MPNet do, or has too few.
        """
        self._encoder = network.encoder
        self._stack: Any = getattr(self._encoder, "encoder", None)
        layers = getattr(self._stack, "layer", None)
        if not isinstance(layers, nn.ModuleList) or not hasattr(self._encoder, "embeddings"):
            raise ConfigError(
                f"frozen_layers can be used with encoders that are built like BERT, RoBERTa and MPNet; came "
                f"{type(self._encoder).__name__}. Train it with frozen_layers 0."
            )
        if count >= len(layers):
            raise ConfigError(f"expected frozen_layers below {len(layers)}, the layers of the encoder; came {count}.")
        self._all, self._lower, self._upper = layers, layers[:count], layers[count:]
        self._encoder.requires_grad_(False)
        self._upper.requires_grad_(True)
        self._answers: dict[int, Tensor] = {}

    @contextmanager
    def upper_layers_only(self) -> Iterator[None]:
        """Let the encoder consist of its upper layers meanwhile, its weights as `state_dict` names them too."""
        self._stack.layer = self._upper
        try:
            yield
        finally:
            self._stack.layer = self._all

    @contextmanager
    def answering(self, rows: Sequence[int], input_ids: Tensor, mask: Tensor) -> Iterator[None]:
        """Let the encoder begin, within `upper_layers_only`, from the lower layers' answer to a batch.

        Args:
            rows: what tells the statements of the batch from all others.
            input_ids: of the batch, shape (statements, tokens).
            mask: of the same shape.
        """
        new = [place for place, row in enumerate(rows) if row not in self._answers]
        if new:
            self._read([rows[place] for place in new], input_ids[new], mask[new])
        hidden = torch.zeros((*input_ids.shape, self._encoder.config.hidden_size), device=input_ids.device)
        for place, row in enumerate(rows):
            answer = self._answers[row]
            hidden[place, : len(answer)] = answer.to(hidden)
        handle = self._encoder.embeddings.register_forward_hook(lambda *_: hidden)
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def _read(self, rows: Sequence[int], input_ids: Tensor, mask: Tensor) -> None:
        self._stack.layer = self._lower
        self._encoder.train(False)
        hidden = self._encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
        self._stack.layer = self._upper
        self._encoder.train(True)
        for row, answer, length in zip(rows, hidden, mask.sum(dim=1).tolist(), strict=True):
            self._answers[row] = answer[:length].to("cpu", torch.float16, copy=True)
