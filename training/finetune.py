"""The training loop, nothing else: token ids and labels in, a fitted network out."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Never

import torch
from datasets import Dataset
from torch import Tensor, nn
from tqdm import tqdm

from training.checkpoint import Position, load_checkpoint, save_checkpoint
from training.config import FitConfig
from training.network import MeanPoolClassifier

__all__ = ["choose_device", "finetune", "length_grouped_batches", "predict_logits"]

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


def finetune(network: MeanPoolClassifier, tokens: Dataset, config: FitConfig, folder: Path, run: str) -> list[float]:
    """Fit `network` in place, going on from the checkpoint of `run` in `folder` if there is one.

    Args:
        network: with a fresh head.
        tokens: rows of `input_ids` (unpadded) and `label` (index).
        config: of the run.
        folder: for checkpoints.
        run: identity of the run.

    Returns:
        The loss of every step that this call has taken, in nats.
    """
    device = choose_device()
    network.to(device)  # type: ignore[arg-type]  # the stub takes a decorator for the method
    network.train()
    optimizer = _optimizer(network, config)
    weights = _class_weights(tokens["label"], network.labels, config.class_weight_power)
    loss_of = nn.CrossEntropyLoss(weights.to(device), label_smoothing=config.label_smoothing)
    steps = _steps(tokens["input_ids"], config)
    torch.manual_seed(config.seed)
    position = load_checkpoint(folder, run, network, optimizer) or Position(run, 0)
    losses: list[float] = []
    saved_at = time.monotonic()
    with _progress(steps, position.step) as bar:
        for step in range(position.step, len(steps)):
            _set_learning_rate(optimizer, step / len(steps), config.warmup_share)
            losses.append(_take_step(network, optimizer, loss_of, tokens[steps[step]], device))
            bar.set_postfix(loss=f"{sum(losses[-50:]) / len(losses[-50:]):.3f}", refresh=False)
            bar.update(len(steps[step]))
            if time.monotonic() - saved_at >= config.checkpoint_every_s:
                save_checkpoint(folder, Position(run, step + 1), network, optimizer)
                saved_at = time.monotonic()
    network.train(False)
    return losses


def _steps(token_ids: Sequence[Sequence[int]], config: FitConfig) -> list[list[int]]:
    lengths = [len(ids) for ids in token_ids]
    seeds = [config.seed * 1000 + epoch for epoch in range(config.epochs)]
    return [batch for seed in seeds for batch in length_grouped_batches(lengths, config.batch_size, seed)]


def _progress(steps: Sequence[Sequence[int]], taken: int) -> "tqdm[Never]":
    # On a terminal the bar moves ten times a second; in a log every ten seconds is enough.
    interval_s = 0.1 if sys.stderr.isatty() else 10.0
    done, total = sum(map(len, steps[:taken])), sum(map(len, steps))
    return tqdm(total=total, initial=done, unit=" statements", desc="training", mininterval=interval_s)


def _optimizer(network: MeanPoolClassifier, config: FitConfig) -> torch.optim.AdamW:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        peak = config.head_learning_rate if name.startswith("head.") else config.learning_rate
        decay = config.weight_decay if parameter.ndim > 1 else 0.0  # vectors are biases and layer norms
        groups.setdefault((peak, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
            for (peak, decay), parameters in groups.items()
        ]
    )


def _set_learning_rate(optimizer: torch.optim.Optimizer, progress: float, warmup_share: float) -> None:
    share = progress / warmup_share if progress < warmup_share else (1 - progress) / (1 - warmup_share)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def _class_weights(gold: Sequence[int], labels: int, power: float) -> Tensor:
    """Return one weight a label, count to the minus `power`, scaled so that the mean over statements is 1."""
    counts = torch.bincount(torch.tensor(gold), minlength=labels).clamp(min=1).float()
    weights = counts**-power
    return weights * counts.sum() / (weights * counts).sum()


def _take_step(
    network: MeanPoolClassifier,
    optimizer: torch.optim.Optimizer,
    loss_of: nn.CrossEntropyLoss,
    batch: dict[str, list[list[int]]],
    device: torch.device,
) -> float:
    input_ids, mask = _pad(batch["input_ids"], device)
    with _autocast(device):
        logits = network(input_ids, mask)
    loss = loss_of(logits.float(), torch.tensor(batch["label"], device=device))
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
    network.train(False)
    device = next(network.parameters()).device
    logits = torch.empty(len(token_ids), network.labels)
    by_length = sorted(range(len(token_ids)), key=lambda index: len(token_ids[index]))
    for start in range(0, len(by_length), batch_size):
        batch = by_length[start : start + batch_size]
        logits[batch] = network(*_pad([token_ids[index] for index in batch], device)).float().cpu()
    return logits
