import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.labels import LABELS
from training.network import MeanPoolClassifier

IDS = torch.tensor([[2, 60, 61, 62, 3], [2, 70, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture
def network(tiny_base: Path) -> MeanPoolClassifier:
    network = MeanPoolClassifier.from_encoder(str(tiny_base), LABELS)
    network.train(False)
    return network


def test_encoder_has_the_weights_of_the_base(network: MeanPoolClassifier, tiny_base: Path) -> None:
    base = load_file(tiny_base / "model.safetensors")
    encoder = network.encoder.state_dict()
    assert encoder.keys() == base.keys()
    assert all(torch.equal(encoder[name], value) for name, value in base.items())


def test_head_has_one_output_a_label(tiny_base: Path) -> None:
    network = MeanPoolClassifier.from_encoder(str(tiny_base), ("hawkish", "dovish", "neutral"))
    assert network.labels == 3
    assert network(IDS, MASK).logits.shape == (2, 3)
    assert network.config.id2label == {0: "hawkish", 1: "dovish", 2: "neutral"}
    assert network.config.label2id == {"hawkish": 0, "dovish": 1, "neutral": 2}


def test_logits_are_the_head_over_the_mean_of_the_tokens_that_are_no_padding(network: MeanPoolClassifier) -> None:
    hidden = network.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    means = torch.stack([hidden[0].mean(dim=0), hidden[1, :3].mean(dim=0)])
    assert torch.allclose(network(IDS, MASK).logits, network.head(means), atol=1e-6)


def test_padding_changes_no_logit(network: MeanPoolClassifier) -> None:
    alone = network(IDS[1:, :3], MASK[1:, :3]).logits
    assert torch.allclose(network(IDS, MASK).logits[1:], alone, atol=1e-5)


def test_saved_network_comes_back_from_safetensors(network: MeanPoolClassifier, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert list(config["id2label"].values()) == list(LABELS)
    again = MeanPoolClassifier.from_pretrained(tmp_path)
    assert torch.equal(again(IDS, MASK).logits, network(IDS, MASK).logits)
