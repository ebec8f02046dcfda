import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import training.finetune
from model.labels import LABELS
from tests.tiny import tiny_config
from training.checkpoint import Position, save_checkpoint
from training.config import FitConfig
from training.finetune import capped, finetune, length_grouped_batches, predict_logits
from training.network import MeanPoolClassifier

LENGTHS = st.lists(st.integers(2, 256), min_size=1, max_size=300)
STEPS = 16  # of 64 statements, 16 at once, four times over


@pytest.fixture
def config(tiny_base: Path) -> FitConfig:
    return replace(tiny_config(tiny_base), epochs=4, checkpoint_every_s=0.0)


def _fresh(config: FitConfig, seed: int = 1) -> MeanPoolClassifier:
    torch.manual_seed(seed)
    return MeanPoolClassifier.from_encoder(config.base, config.labels)


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def _die_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def save_and_die(folder: Path, position: Position, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        save_checkpoint(folder, position, network, optimizer)
        if position.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.finetune, "save_checkpoint", save_and_die)


@given(LENGTHS, st.integers(1, 40), st.integers(0, 10))
def test_batches_hold_every_statement_once(lengths: list[int], batch_size: int, seed: int) -> None:
    batches = length_grouped_batches(lengths, batch_size, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert len(batches) == math.ceil(len(lengths) / batch_size)


def test_batches_depend_on_the_seed_alone() -> None:
    lengths = [2 + index % 50 for index in range(500)]
    assert length_grouped_batches(lengths, 8, 3) == length_grouped_batches(lengths, 8, 3)
    assert length_grouped_batches(lengths, 8, 3) != length_grouped_batches(lengths, 8, 4)


def test_batches_hold_texts_of_alike_length_in_no_order() -> None:
    lengths = [2 + (index * 37) % 250 for index in range(400)]
    batches = [[lengths[index] for index in batch] for batch in length_grouped_batches(lengths, 8, 0)]
    assert max(max(batch) - min(batch) for batch in batches) <= 8
    longest = [max(batch) for batch in batches]
    assert longest != sorted(longest)


def test_training_lowers_the_loss(config: FitConfig, tiny_tokens: Dataset, tmp_path: Path) -> None:
    config = replace(config, epochs=12, batch_size=8, checkpoint_every_s=1e9)
    losses = finetune(_fresh(config), tiny_tokens, config, tmp_path, "run")
    assert len(losses) == 96
    assert sum(losses[:8]) / 8 == pytest.approx(math.log(4), abs=0.1)
    assert sum(losses[-8:]) / 8 < 0.7


def test_two_runs_give_the_same_weights_and_another_seed_others(
    config: FitConfig, tiny_tokens: Dataset, tmp_path: Path
) -> None:
    networks = [_fresh(config) for _ in range(3)]
    seeds = (17, 17, 18)
    for number, (network, seed) in enumerate(zip(networks, seeds, strict=True)):
        finetune(network, tiny_tokens, replace(config, seed=seed), tmp_path, f"run {number}")
    assert _same_weights(networks[0], networks[1])
    assert not _same_weights(networks[0], networks[2])


@pytest.mark.parametrize("step", [1, 6, STEPS])
def test_killed_and_resumed_run_gives_the_weights_of_an_uninterrupted_one(
    config: FitConfig, tiny_tokens: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole = _fresh(config)
    losses = finetune(whole, tiny_tokens, config, tmp_path, "another run")
    _die_after(step, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        finetune(_fresh(config), tiny_tokens, config, tmp_path, "run")
    monkeypatch.undo()
    resumed = _fresh(config, seed=2)  # what it begins with is of no matter: the checkpoint holds everything
    assert finetune(resumed, tiny_tokens, config, tmp_path, "run") == losses[step:]
    assert _same_weights(resumed, whole)


def test_checkpoint_of_another_run_is_ignored(config: FitConfig, tiny_tokens: Dataset, tmp_path: Path) -> None:
    whole, after_another = _fresh(config), _fresh(config)
    losses = finetune(whole, tiny_tokens, config, tmp_path, "run")
    finetune(_fresh(config, seed=2), tiny_tokens, replace(config, seed=5), tmp_path, "another run")
    assert finetune(after_another, tiny_tokens, config, tmp_path, "run") == losses
    assert _same_weights(after_another, whole)


def test_checkpoints_are_no_more_frequent_than_asked_and_the_last_step_has_one(
    config: FitConfig, tiny_tokens: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(training.finetune, "save_checkpoint", lambda _, position, *rest: saved.append(position.step))
    finetune(_fresh(config), tiny_tokens, replace(config, checkpoint_every_s=1e9), tmp_path, "run")
    assert saved == [STEPS]


def test_learning_rate_rises_and_falls_and_decay_spares_vectors(
    config: FitConfig, tiny_tokens: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[tuple[float, float, set[int]]]] = []

    def spy(folder: Path, position: Position, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        seen.append(
            [(each["lr"], each["weight_decay"], {p.ndim for p in each["params"]}) for each in optimizer.param_groups]
        )

    monkeypatch.setattr(training.finetune, "save_checkpoint", spy)
    finetune(_fresh(config), tiny_tokens, replace(config, warmup_share=0.25), tmp_path, "run")
    rates = [max(rate for rate, _, _ in groups) for groups in seen]
    peak = config.learning_rate  # of the encoder; the head's is lower
    rise = [peak * step / 4 for step in range(4)]
    fall = [peak * (STEPS - step) / 12 for step in range(4, STEPS)]
    assert rates == pytest.approx(rise + fall)
    assert min(rate for rate, _, _ in seen[4]) == pytest.approx(config.head_learning_rate)
    assert {(decay, ndim) for groups in seen for _, decay, ndims in groups for ndim in ndims} == {(0.0, 1), (0.01, 2)}


@pytest.mark.parametrize(("power", "expected"), [(0.0, 3 / 4), (0.5, 3**0.5 / (3**0.5 + 1)), (1.0, 1 / 2)])
def test_class_weights_make_up_for_rare_labels(
    config: FitConfig, tmp_path: Path, power: float, expected: float
) -> None:
    # One text for all, and three of four have the first label: all that can be learnt is how common a label is.
    tokens = Dataset.from_dict({"input_ids": [[2, 60, 3]] * 64, "label": [0, 0, 0, 1] * 16, "act": [-1] * 64})
    config = replace(
        config,
        labels=LABELS[:2],
        epochs=40,
        batch_size=64,
        learning_rate=0.0,
        head_learning_rate=0.03,
        label_smoothing=0.0,
        class_weight_power=power,
        checkpoint_every_s=1e9,
    )
    network = _fresh(config)
    finetune(network, tokens, config, tmp_path, "run")
    assert predict_logits(network, [[2, 60, 3]]).softmax(dim=1)[0, 0] == pytest.approx(expected, abs=0.05)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 20), st.integers(0, 5))
def test_epoch_holds_at_most_the_cap_of_each_label(gold: list[int], cap: int, seed: int) -> None:
    rows = capped(gold, cap, seed)
    assert rows == sorted(set(rows))
    assert Counter(gold[row] for row in rows) == {
        label: min(count, cap or count) for label, count in Counter(gold).items()
    }


def test_epochs_draw_other_statements() -> None:
    assert capped([0] * 100, 50, 1) != capped([0] * 100, 50, 2)


def test_acts_are_learnt_beneath_the_labels(config: FitConfig, tmp_path: Path) -> None:
    acts = {LABELS[0]: ("attack", "rupture"), LABELS[1]: ("warn",)}
    torch.manual_seed(1)
    network = MeanPoolClassifier.from_encoder(config.base, LABELS[:2], acts)
    # The third statement's act is not known: it teaches its label alone.
    rows = {"input_ids": [[2, 60, 3], [2, 61, 3], [2, 62, 3], [2, 63, 3]] * 16, "label": [0, 0, 0, 1] * 16}
    tokens = Dataset.from_dict(rows | {"act": [0, 1, -1, 2] * 16})
    finetune(network, tokens, replace(config, labels=LABELS[:2], act_weight=1.0, epochs=20), tmp_path, "run")
    ids = torch.tensor([[2, 60, 3], [2, 61, 3], [2, 62, 3], [2, 63, 3]])
    outputs = network(ids, torch.ones_like(ids))
    assert outputs.logits.argmax(dim=1).tolist() == [0, 0, 0, 1]
    assert outputs.act_logits[[0, 1, 3]].argmax(dim=1).tolist() == [0, 1, 2]
    assert torch.allclose(outputs.logits[:, 0], outputs.act_logits[:, :2].logsumexp(dim=1))
    assert torch.allclose(outputs.logits.softmax(dim=1)[:, 1], outputs.act_logits.softmax(dim=1)[:, 2])


def test_logits_come_in_the_order_of_the_texts_whatever_the_batches(config: FitConfig, tiny_tokens: Dataset) -> None:
    network = _fresh(config)
    ids = [tiny_tokens["input_ids"][index][: 3 + index % 9] for index in range(30)]
    alone = torch.cat([predict_logits(network, [each]) for each in ids])
    assert alone.shape == (30, 4)
    assert torch.allclose(predict_logits(network, ids, batch_size=7), alone, atol=1e-5)
    assert not network.training
