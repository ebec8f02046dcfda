"""The training loop, nothing else: token ids and labels in, a fitted network out."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Never

import torch
from datasets import Dataset
from torch import Tensor, nn
from tqdm import tqdm

from training.checkpoint import Position, load_checkpoint, save_checkpoint
from training.config import FitConfig
from training.frozen import FrozenLayers
from training.network import MeanPoolClassifier, Outputs
from training.progress import Progress

__all__ = ["capped", "choose_device", "finetune", "length_grouped_batches", "predict_act_logits", "predict_logits"]

# Batches that are sorted by length together: enough for little padding, few enough to keep the order random.
_MEGABATCH = 50


def choose_device() -> torch.device:
    """Return the GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _autocast(device: torch.device) -> torch.autocast:
    """Return bfloat16 autocast, switched off on a device without fast bfloat16 arithmetic."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_bf16_supported(including_emulation=False))
    # Without AVX-512 BF16 or AMX, processors emulate bfloat16 more slowly than they compute float32.
    return torch.autocast("cpu", torch.bfloat16, enabled=_cpu_has_bf16())


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def length_grouped_batches(lengths: Sequence[int], batch_size: int, seed: int) -> list[list[int]]:
    """Return every index once, in batches of texts of alike length, in an order that `seed` decides."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(order), _MEGABATCH * batch_size):
        mega = sorted(order[start : start + _MEGABATCH * batch_size], key=lambda index: lengths[index])
        batches += [mega[first : first + batch_size] for first in range(0, len(mega), batch_size)]
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def finetune(
    network: MeanPoolClassifier,
    tokens: Dataset,
    config: FitConfig,
    folder: Path,
    run: str,
    taught: Tensor | None = None,
    progress: Progress | None = None,
) -> list[float]:
    """Fit `network` in place, going on from the checkpoint of `run` in `folder` if there is one.

    Args:
        network: with a fresh head.
        tokens: rows of `input_ids` (unpadded), `label` (index, or -1) and `act` (index of an output, or -1).
        config: of the run.
        folder: for checkpoints.
        run: identity of the run.
        taught: a teacher's probabilities of the outputs for every row, shape (rows, outputs); None without one.
        progress: to note every step in.

    Returns:
        The loss of every step that this call has taken, in nats.
    """
    device = choose_device()
    network.to(device)  # type: ignore[arg-type]  # the stub takes a decorator for the method
    network.train()
    frozen = FrozenLayers(network, config.frozen_layers) if config.frozen_layers else None
    with frozen.upper_layers_only() if frozen else nullcontext():
        losses = _fit(network, tokens, config, folder, run, device, frozen, taught, progress or Progress())
    network.train(False)
    return losses


def _fit(
    network: MeanPoolClassifier,
    tokens: Dataset,
    config: FitConfig,
    folder: Path,
    run: str,
    device: torch.device,
    frozen: FrozenLayers | None,
    taught: Tensor | None,
    progress: Progress,
) -> list[float]:
    optimizer = _optimizer(network, config)
    gold = list(tokens["label"])
    loss_of = _Loss(gold, network.labels, config, device)
    steps = _steps(tokens["input_ids"], gold, config)
    torch.manual_seed(config.seed)
    position = load_checkpoint(folder, run, network, optimizer) or Position(run, 0)
    losses: list[float] = []
    saved_at = time.monotonic()
    done, total = sum(map(len, steps[: position.step])), sum(map(len, steps))
    with _progress(done, total) as bar:
        for step in range(position.step, len(steps)):
            _set_learning_rate(optimizer, step / len(steps), config.warmup_share)
            batch = tokens[steps[step]]
            input_ids, mask = _pad(batch["input_ids"], device)
            with frozen.answering(steps[step], input_ids, mask) if frozen else nullcontext(), _autocast(device):
                outputs = network(input_ids, mask)
            answers = None if taught is None else taught[steps[step]].to(device)
            loss = loss_of(outputs, batch["label"], batch["act"], answers)
            losses.append(_take_step(network, optimizer, loss))
            recent = sum(losses[-50:]) / len(losses[-50:])
            bar.set_postfix(loss=f"{recent:.3f}", refresh=False)
            bar.update(len(steps[step]))
            done += len(steps[step])
            epoch = step * config.epochs // len(steps) + 1
            progress.report(done, total, epoch=epoch, step=step + 1, steps=len(steps), loss=recent)
            # The last one too: what follows, the export and its checks, may be killed or refuse.
            if time.monotonic() - saved_at >= config.checkpoint_every_s or step + 1 == len(steps):
                save_checkpoint(folder, Position(run, step + 1), network, optimizer)
                saved_at = time.monotonic()
    return losses


def _steps(token_ids: Sequence[Sequence[int]], gold: Sequence[int], config: FitConfig) -> list[list[int]]:
    """Return the rows of every step of all epochs."""
    steps: list[list[int]] = []
    for epoch in range(config.epochs):
        seed = config.seed * 1000 + epoch
        rows = capped(gold, config.label_cap, seed)
        batches = length_grouped_batches([len(token_ids[row]) for row in rows], config.batch_size, seed)
        steps += [[rows[index] for index in batch] for batch in batches]
    return steps


def capped(gold: Sequence[int], cap: int, seed: int) -> list[int]:
    """Return the rows of an epoch, ascending: all of a label's, or `cap` that `seed` draws; a cap of 0 is none.

    Rows without a label, -1, are all taken.
    """
    generator = torch.Generator().manual_seed(seed)
    kept: list[int] = []
    for label in sorted(set(gold)):
        rows = [row for row, each in enumerate(gold) if each == label]
        drawn = torch.randperm(len(rows), generator=generator)[: (cap if label >= 0 else 0) or None].tolist()
        kept += [rows[index] for index in drawn]
    return sorted(kept)


def _progress(done: int, total: int) -> "tqdm[Never]":
    # On a terminal the bar moves ten times a second; in a log every ten seconds is enough.
    interval_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, initial=done, unit=" statements", desc="training", mininterval=interval_s)


def _optimizer(network: MeanPoolClassifier, config: FitConfig) -> torch.optim.AdamW:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    trained = ((name, each) for name, each in network.named_parameters() if each.requires_grad)
    for name, parameter in trained:
        peak = config.head_learning_rate if name.startswith("head.") else config.learning_rate
        decay = config.weight_decay if parameter.ndim > 1 else 0.0  # vectors are biases and layer norms
        groups.setdefault((peak, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
            for (peak, decay), parameters in groups.items()
        ],
        fused=True,
    )


def _set_learning_rate(optimizer: torch.optim.Optimizer, progress: float, warmup_share: float) -> None:
    share = progress / warmup_share if progress < warmup_share else (1 - progress) / (1 - warmup_share)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


class _Loss:
    """What a batch is fitted to: its labels, beneath them its acts where somebody has said which, and a teacher."""

    def __init__(self, gold: Sequence[int], labels: int, config: FitConfig, device: torch.device) -> None:
        weights = _class_weights(gold, labels, config.label_cap, config.class_weight_power)
        self._of_label = nn.CrossEntropyLoss(weights.to(device), label_smoothing=config.label_smoothing)
        self._act_weight, self._teacher_weight = config.act_weight, config.teacher_weight

    def __call__(
        self, outputs: Outputs, labels: Sequence[int], acts: Sequence[int], taught: Tensor | None = None
    ) -> Tensor:
        logits, act_logits = outputs.logits.float(), outputs.act_logits.float()
        label, act = (torch.tensor(values, device=logits.device) for values in (labels, acts))
        if taught is None:
            return self._of_gold(logits, act_logits, label, act)
        distance = nn.functional.kl_div(act_logits.log_softmax(dim=1), taught, reduction="batchmean")
        if not (read := label >= 0).any():
            return distance
        gold = self._of_gold(logits[read], act_logits[read], label[read], act[read])
        return self._teacher_weight * distance + (1 - self._teacher_weight) * gold

    def _of_gold(self, logits: Tensor, act_logits: Tensor, label: Tensor, act: Tensor) -> Tensor:
        loss: Tensor = self._of_label(logits, label)
        known = act >= 0
        if self._act_weight and known.any():
            # The log of the probability of the act given the label: both logits are relative to the same sum.
            given_label = act_logits[known].gather(1, act[known, None]) - logits[known].gather(1, label[known, None])
            loss = loss - self._act_weight * given_label.sum() / len(label)
        return loss


def _class_weights(gold: Sequence[int], labels: int, cap: int, power: float) -> Tensor:
    """Return one weight a label, count in an epoch to the minus `power`, scaled so that statements' mean is 1."""
    read = torch.tensor(gold)
    counts = torch.bincount(read[read >= 0], minlength=labels).clamp(min=1, max=cap or None).float()
    weights = counts**-power
    return weights * counts.sum() / (weights * counts).sum()


def _take_step(network: MeanPoolClassifier, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _pad(token_ids: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids and mask, both (texts, tokens of the longest)."""
    width = max(len(ids) for ids in token_ids)
    padded = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in token_ids], device=device)
    lengths = torch.tensor([len(ids) for ids in token_ids], device=device)
    return padded, (torch.arange(width, device=device) < lengths[:, None]).long()


@torch.inference_mode()
def predict_logits(network: MeanPoolClassifier, token_ids: Sequence[Sequence[int]], batch_size: int = 32) -> Tensor:
    """Return float32 logits of unpadded token ids, shape (texts, labels), in their order, on the processor."""
    logits = torch.empty(len(token_ids), network.labels)
    for batch, outputs in _answered(network, token_ids, batch_size):
        logits[batch] = outputs.logits.float().cpu()
    return logits


@torch.inference_mode()
def predict_act_logits(network: MeanPoolClassifier, token_ids: Sequence[Sequence[int]], batch_size: int = 32) -> Tensor:
    """Return logits of the acts as `predict_logits` does those of the labels, in the arithmetic that trains."""
    logits = torch.empty(len(token_ids), sum(network.widths))
    with _autocast(next(network.parameters()).device):
        for batch, outputs in _answered(network, token_ids, batch_size):
            logits[batch] = outputs.act_logits.float().cpu()
    return logits


def _answered(
    network: MeanPoolClassifier, token_ids: Sequence[Sequence[int]], batch_size: int
) -> Iterator[tuple[list[int], Outputs]]:
    network.train(False)
    device = next(network.parameters()).device
    by_length = sorted(range(len(token_ids)), key=lambda index: len(token_ids[index]))
    for start in range(0, len(by_length), batch_size):
        batch = by_length[start : start + batch_size]
        yield batch, network(*_pad([token_ids[index] for index in batch], device))
