import json
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import training.checkpoint
from training.checkpoint import CHECKPOINT, Position, load_checkpoint, save_checkpoint


def _run(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a network and an optimiser that has taken one step."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.rand(5, 3)).sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return network, optimizer


def _state(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    moments = {f"{i} {k}": v for i, each in optimizer.state_dict()["state"].items() for k, v in each.items()}
    return {name: value.clone() for name, value in (network.state_dict() | moments).items()}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_weights_optimiser_random_numbers_and_position_come_back(tmp_path: Path) -> None:
    network, optimizer = _run()
    save_checkpoint(tmp_path, Position("run", 7), network, optimizer)
    expected, expected_random = _state(network, optimizer), torch.rand(3)
    other_network, other_optimizer = _run(seed=9)
    assert load_checkpoint(tmp_path, "run", other_network, other_optimizer) == Position("run", 7)
    assert torch.equal(torch.rand(3), expected_random)
    assert _same(_state(other_network, other_optimizer), expected)


def test_optimiser_that_has_not_stepped_takes_the_state(tmp_path: Path) -> None:
    network, optimizer = _run()
    save_checkpoint(tmp_path, Position("run", 1), network, optimizer)
    fresh = torch.optim.AdamW(network.parameters())
    load_checkpoint(tmp_path, "run", network, fresh)
    assert _same(_state(network, fresh), _state(network, optimizer))


def test_where_there_is_none_nothing_changes(tmp_path: Path) -> None:
    network, optimizer = _run()
    before = _state(network, optimizer)
    assert load_checkpoint(tmp_path, "run", network, optimizer) is None
    assert _same(_state(network, optimizer), before)


def test_checkpoint_of_another_run_changes_nothing(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Position("another", 3), *_run(seed=9))
    network, optimizer = _run()
    before = _state(network, optimizer)
    assert load_checkpoint(tmp_path, "run", network, optimizer) is None
    assert _same(_state(network, optimizer), before)


def test_later_checkpoint_replaces_the_earlier_one(tmp_path: Path) -> None:
    network, optimizer = _run()
    for step in (1, 2):
        save_checkpoint(tmp_path, Position("run", step), network, optimizer)
    assert load_checkpoint(tmp_path, "run", network, optimizer) == Position("run", 2)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_kill_while_writing_leaves_the_checkpoint_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, optimizer = _run()
    save_checkpoint(tmp_path, Position("run", 1), network, optimizer)

    def write_half(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"\x10half")
        raise KeyboardInterrupt

    monkeypatch.setattr(training.checkpoint, "save_file", write_half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, Position("run", 2), network, optimizer)
    assert load_checkpoint(tmp_path, "run", network, optimizer) == Position("run", 1)


def test_file_holds_json_and_numbers_and_no_pickle(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Position("run", 1), *_run())
    content = (tmp_path / CHECKPOINT).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    assert json.loads(header.pop("__metadata__")["position"]) == {"run": "run", "step": 1}
    ends = sorted(each["data_offsets"] for each in header.values())
    # The tensors lie end to end and fill the file: no byte of it is anything else.
    assert [first for first, _ in ends] == [0, *(last for _, last in ends[:-1])]
    assert start + ends[-1][1] == len(content)
    assert not zipfile.is_zipfile(tmp_path / CHECKPOINT)
