"""Everything that a training run can be told, in one frozen record. Each default lives here and nowhere else."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from model.labels import LABELS
from training.errors import ConfigError

__all__ = ["DEFAULT_BASE", "LABEL_PRIORS", "FitConfig", "LabelPrior"]

DEFAULT_BASE = "all-MiniLM-L6-v2"
"""The pretrained encoder that the package index carries; see `training.base`."""


LabelPrior = Literal["uniform", "data"]
LABEL_PRIORS: tuple[LabelPrior, ...] = get_args(LabelPrior)


@dataclass(frozen=True)
class FitConfig:
    """Settings of one run; they go into the manifest as they are.

    Attributes:
        base: name of the packaged encoder, a folder, or a Hugging Face id.
        labels: the label set, in the order of the network's outputs.
        seed: of the shuffling, the dropout and the head's first weights.
        epochs: passes over the training split.
        batch_size: statements in one step.
        learning_rate: peak, of the encoder; it rises linearly and falls linearly to zero.
        head_learning_rate: peak, of the classification head, which starts from nothing.
        warmup_share: share of the steps in which the learning rate rises.
        weight_decay: of AdamW; not applied to biases and layer norms.
        label_smoothing: share of the target spread over all labels.
        class_weight_power: a label's loss is weighted by its count in an epoch to the minus this; 0 weighs all
            statements alike, 1 gives every label the same total weight.
        label_cap: most statements of one label in an epoch, drawn anew for each; 0 takes them all.
        act_weight: how much the loss of the act beneath the label counts beside that of the label.
        teacher_weight: share of the loss that is the distance to the answers of a teacher, where there is one.
        frozen_layers: how many of the encoder's lowest layers, and its embeddings, stay as they were pretrained.
            Their outputs are computed once, so that half the layers frozen is half the time; 0 trains everything.
        max_tokens: tokens in one window, the two special ones included.
        window_overlap_tokens: tokens that neighbouring windows of a long text share when it is served.
        label_prior: mix of labels that probabilities are calibrated for: `uniform`, where each is as common as any
            other, as in a text that somebody chose for its statements; or `data`, the mix of the validation split.
        max_error_rate: share of wrong answers that the abstention threshold is chosen for.
        set_coverage: share of right labels that the prediction sets are chosen for.
        validation_share: share of the groups that choose temperature and thresholds.
        test_share: share of the groups that only measure.
        checkpoint_every_s: seconds between two checkpoints of a run, at least.
    """

    base: str = DEFAULT_BASE
    labels: tuple[str, ...] = LABELS
    seed: int = 17
    epochs: int = 3
    batch_size: int = 16
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    class_weight_power: float = 0.5
    label_cap: int = 0
    act_weight: float = 0.5
    teacher_weight: float = 0.7
    frozen_layers: int = 0
    max_tokens: int = 256
    window_overlap_tokens: int = 32
    label_prior: LabelPrior = "uniform"
    max_error_rate: float = 0.05
    set_coverage: float = 0.9
    validation_share: float = 0.1
    test_share: float = 0.1
    checkpoint_every_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what would fail, or train nothing, only after the run has begun.

        Raises:
            ConfigError: naming each setting that cannot be used.
        """
        kept = {
            "two or more different labels": len(set(self.labels)) == len(self.labels) >= 2,
            "epochs of 1 or more": self.epochs >= 1,
            "a batch_size of 1 or more": self.batch_size >= 1,
            "learning rates of 0 or more": all(
                0 <= rate < math.inf for rate in (self.learning_rate, self.head_learning_rate)
            ),
            "a checkpoint_every_s of 0 or more": self.checkpoint_every_s >= 0,
            f"a label_prior of {' or '.join(LABEL_PRIORS)}": self.label_prior in LABEL_PRIORS,
            "a label_cap of 0 or more": self.label_cap >= 0,
            "frozen_layers of 0 or more": self.frozen_layers >= 0,
            "an act_weight of 0 or more": 0 <= self.act_weight < math.inf,
            "a teacher_weight from 0 to 1": 0 <= self.teacher_weight <= 1,
            # Two of a window's tokens are special, and each window must get past the one before it.
            "window_overlap_tokens from 0 to max_tokens - 3": 0 <= self.window_overlap_tokens < self.max_tokens - 2,
            "shares above 0 that leave some for training": (
                min(self.validation_share, self.test_share) > 0 and self.validation_share + self.test_share < 1
            ),
        }
        if broken := [rule for rule, is_kept in kept.items() if not is_kept]:
            raise ConfigError(f"expected {', '.join(broken)}; came {self}")
