"""The network that is trained: a pretrained encoder, mean pooling over the tokens, one linear layer.

The layer has one output for each act beneath a label, and a label's logit is the log of the sum of the exponentials of
its acts': the probability of a label is that of all its acts, the two levels of a hierarchical softmax. A label without
acts has one output of its own.

Saved and loaded as Hugging Face models are, `save_pretrained` and `from_pretrained`, weights as safetensors.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

__all__ = ["MeanPoolClassifier", "MeanPoolConfig", "Outputs"]


class MeanPoolConfig(PreTrainedConfig):
    """Configuration of the encoder, as a dictionary, and of the head; `acts` are those of each label in its order."""

    model_type = "mean-pool-classifier"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        dropout: float = 0.1,
        acts: list[list[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.dropout = dropout
        self.acts = acts


class Outputs(NamedTuple):
    """What the network answers.

    Attributes:
        logits: of the labels, shape (statements, labels).
        act_logits: of the acts, label by label, shape (statements, acts).
    """

    logits: Tensor
    act_logits: Tensor


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
        acts = config.acts or [[] for _ in config.id2label or {}]
        self.widths = [max(1, len(each)) for each in acts]
        """How many outputs each label has."""
        self.head = nn.Linear(encoder_config.hidden_size, sum(self.widths))
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def from_encoder(
        cls, location: str, labels: Sequence[str], acts: Mapping[str, Sequence[str]] | None = None
    ) -> "MeanPoolClassifier":
        """Return a network with the pretrained encoder of a folder or hub id and a new head.

        Args:
            location: of the encoder.
            labels: in the order of the logits.
            acts: of each label; a label that it does not name has none.
        """
        encoder_config = AutoConfig.from_pretrained(location)
        settings = encoder_config.to_dict()
        settings.pop("_name_or_path", None)  # where it lay on this machine
        config = MeanPoolConfig(
            encoder=settings,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            acts=[list((acts or {}).get(label, ())) for label in labels],
        )
        network = cls(config)
        network.encoder = AutoModel.from_pretrained(location, dtype=torch.float32, **_without_pooler(encoder_config))
        return network

    @property
    def labels(self) -> int:
        """How many labels the head has."""
        return len(self.widths)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Outputs:
        """Return the logits of labels and acts for token ids and mask, both (statements, tokens)."""
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state  # (n, tokens, width)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (n, tokens, 1)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)  # (n, width); every text has its two special tokens
        act_logits: Tensor = self.head(self.dropout(mean))
        starts = [sum(self.widths[:label]) for label in range(self.labels)]
        of_labels = [
            _log_sum_exp(act_logits[:, start : start + width]) for start, width in zip(starts, self.widths, strict=True)
        ]
        return Outputs(torch.cat(of_labels, dim=-1), act_logits)


def _log_sum_exp(logits: Tensor) -> Tensor:
    # Relative to the first, not to the highest as torch.logsumexp has it: where ReduceMax is in the graph, ONNX
    # Runtime's optimiser fails to infer shapes and fuses less. It would take a gap of 88 between two acts to overflow.
    first = logits[:, :1]
    return (logits - first).exp().sum(dim=-1, keepdim=True).log() + first


def _without_pooler(encoder_config: Any) -> dict[str, bool]:
    return {"add_pooling_layer": False} if encoder_config.model_type in {"bert", "mpnet", "roberta"} else {}
