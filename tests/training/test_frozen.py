from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
)

from model.labels import LABELS
from tests.tiny import tiny_config
from training.config import FitConfig
from training.errors import ConfigError
from training.finetune import finetune, predict_logits
from training.frozen import FrozenLayers
from training.network import MeanPoolClassifier

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
IDS = torch.tensor([[2, 60, 61, 62, 3], [2, 70, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
BASES: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(vocab_size=90, **SIZES), add_pooling_layer=False),
    "mpnet": lambda: MPNetModel(MPNetConfig(vocab_size=90, **SIZES), add_pooling_layer=False),
}


@pytest.fixture(params=sorted(BASES))
def network(request: pytest.FixtureRequest, tmp_path: Path) -> MeanPoolClassifier:
    BASES[request.param]().save_pretrained(tmp_path)
    network = MeanPoolClassifier.from_encoder(str(tmp_path), LABELS)
    for each in network.modules():
        if isinstance(each, torch.nn.Dropout):
            each.p = 0.0  # the upper layers are in training: without dropout they answer as they would in use
    return network


def test_upper_layers_over_the_answers_of_the_lower_ones_are_the_whole_encoder(network: MeanPoolClassifier) -> None:
    expected = network(IDS, MASK).logits
    frozen = FrozenLayers(network, 2)
    with frozen.upper_layers_only():
        for _ in range(2):  # read, then remembered
            with frozen.answering([7, 9], IDS, MASK):
                assert torch.allclose(network(IDS, MASK).logits, expected, atol=1e-3)  # kept as float16
        with frozen.answering([9], IDS[1:, :3], MASK[1:, :3]):
            assert torch.allclose(network(IDS[1:, :3], MASK[1:, :3]).logits, expected[1:], atol=1e-3)
    assert torch.allclose(network(IDS, MASK).logits, expected, atol=1e-6)
    assert network.training


def test_lower_layers_read_each_statement_once(network: MeanPoolClassifier) -> None:
    frozen = FrozenLayers(network, 1)
    first = network.encoder.encoder.layer[0]
    read: list[int] = []
    first.register_forward_hook(lambda _, inputs, __: read.append(len(inputs[0])))
    with frozen.upper_layers_only():
        for rows in ([7, 9], [9, 7], [9, 8]):
            with frozen.answering(rows, IDS, MASK):
                pass
    assert read == [2, 1]


def test_only_upper_layers_and_head_learn(tiny_base: Path, tiny_tokens: Dataset, tmp_path: Path) -> None:
    config: FitConfig = replace(tiny_config(tiny_base), frozen_layers=1, epochs=2)
    network = MeanPoolClassifier.from_encoder(str(tiny_base), LABELS)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    losses = finetune(network, tiny_tokens, config, tmp_path, "run")
    assert losses[-1] < losses[0]
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith(("head.", "encoder.encoder.layer.1."))}


def test_run_with_frozen_layers_goes_on_from_its_checkpoint(
    tiny_base: Path, tiny_tokens: Dataset, tmp_path: Path
) -> None:
    config = replace(tiny_config(tiny_base), frozen_layers=1, epochs=2, checkpoint_every_s=0.0)
    whole, resumed = (MeanPoolClassifier.from_encoder(str(tiny_base), LABELS) for _ in range(2))
    finetune(whole, tiny_tokens, config, tmp_path, "run")
    assert finetune(resumed, tiny_tokens, config, tmp_path, "run") == []  # the last step's checkpoint
    ids = [list(each) for each in tiny_tokens["input_ids"]]
    assert torch.equal(predict_logits(resumed, ids), predict_logits(whole, ids))


def test_at_least_one_layer_is_left_to_train(network: MeanPoolClassifier) -> None:
    with pytest.raises(ConfigError, match=r"expected frozen_layers below 3, .* came 3"):
        FrozenLayers(network, 3)


def test_encoder_of_another_build_is_refused(tmp_path: Path) -> None:
    DistilBertModel(DistilBertConfig(vocab_size=90, dim=32, n_layers=2, n_heads=2, hidden_dim=64)).save_pretrained(
        tmp_path
    )
    network = MeanPoolClassifier.from_encoder(str(tmp_path), LABELS)
    with pytest.raises(ConfigError, match="DistilBertModel"):
        FrozenLayers(network, 1)
