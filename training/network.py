"""The network that is trained: a pretrained encoder, mean pooling over the tokens, one linear layer.

Saved and loaded as Hugging Face models are, `save_pretrained` and `from_pretrained`, weights as safetensors.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

__all__ = ["MeanPoolClassifier", "MeanPoolConfig"]


class MeanPoolConfig(PreTrainedConfig):
    """Configuration of the encoder, as a dictionary, and of the head."""

    model_type = "mean-pool-classifier"

    def __init__(self, encoder: dict[str, Any] | None = None, dropout: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.dropout = dropout


class MeanPoolClassifier(PreTrainedModel):
    """Texts' tokens to one logit a label."""

    config_class = MeanPoolConfig
    base_model_prefix = "encoder"

    def __init__(self, config: MeanPoolConfig) -> None:
        super().__init__(config)
        settings = dict(config.encoder or {})
        encoder_config: Any = AutoConfig.for_model(settings.pop("model_type"), **settings)
        # The pooler is a layer over the first token that mean pooling has no use for.
        self.encoder = AutoModel.from_config(encoder_config, **_without_pooler(encoder_config))
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(encoder_config.hidden_size, len(config.id2label or {}))
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def from_encoder(cls, location: str, labels: tuple[str, ...]) -> "MeanPoolClassifier":
        """Return a network with the pretrained encoder of a folder or hub id and a new head for `labels`."""
        encoder_config = AutoConfig.from_pretrained(location)
        config = MeanPoolConfig(
            encoder=encoder_config.to_dict(),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
        )
        network = cls(config)
        network.encoder = AutoModel.from_pretrained(location, dtype=torch.float32, **_without_pooler(encoder_config))
        return network

    @property
    def labels(self) -> int:
        """How many labels the head has."""
        return int(self.head.out_features)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits, shape (statements, labels), of token ids and mask, both (statements, tokens)."""
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state  # (n, tokens, width)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (n, tokens, 1)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)  # (n, width); every text has its two special tokens
        logits: Tensor = self.head(self.dropout(mean))
        return logits


def _without_pooler(encoder_config: Any) -> dict[str, bool]:
    return {"add_pooling_layer": False} if encoder_config.model_type in {"bert", "mpnet", "roberta"} else {}
