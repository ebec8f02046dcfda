"""Everything that a training run can be told, in one frozen record. Each default lives here and nowhere else."""

from dataclasses import dataclass

from model.labels import LABELS

__all__ = ["DEFAULT_BASE", "FitConfig"]

DEFAULT_BASE = "all-MiniLM-L6-v2"
"""The pretrained encoder that the package index carries; see `training.base`."""


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
        class_weight_power: a label's loss is weighted by its count to the minus this; 0 weighs all statements alike,
            1 gives every label the same total weight.
        max_tokens: tokens in one window, the two special ones included.
        window_overlap_tokens: tokens that neighbouring windows of a long text share when it is served.
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
    max_tokens: int = 256
    window_overlap_tokens: int = 32
    max_error_rate: float = 0.05
    set_coverage: float = 0.9
    validation_share: float = 0.1
    test_share: float = 0.1
    checkpoint_every_s: float = 60.0
