"""The state of an unfinished run in one safetensors file: weights, optimiser, random numbers, position.

Written in one step, so that a killed run leaves the last whole checkpoint and never half of one.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

__all__ = ["CHECKPOINT", "Position", "load_checkpoint", "save_checkpoint"]

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Position:
    """How far a run has come.

    Attributes:
        run: identity of the run (settings, data, base); a checkpoint of another run is not resumed.
        step: optimiser steps taken.
    """

    run: str
    step: int


def save_checkpoint(folder: Path, position: Position, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the whole state of a run into `folder`, replacing the checkpoint before it."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    unfinished = folder / f"{CHECKPOINT}.part"
    metadata = {"position": json.dumps({"run": position.run, "step": position.step})}
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, unfinished, metadata)
    os.replace(unfinished, folder / CHECKPOINT)


def load_checkpoint(folder: Path, run: str, network: nn.Module, optimizer: torch.optim.Optimizer) -> Position | None:
    """Put network, optimiser and random numbers back to the checkpoint of `run`; None where there is none of it."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as stream:
        position = Position(**json.loads(stream.metadata()["position"]))
        if position.run != run:
            return None
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dictionary)
    network.load_state_dict(_under("network.", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimizer.", tensors).items():
        index, field = name.split(".", 1)
        state.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return position


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
