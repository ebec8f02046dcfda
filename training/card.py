"""The model card of a version, written from its manifest after Mitchell et al. 2019, arXiv 1810.03993."""

from model.artifact import Manifest
from training.base import PUBLISHED
from training.evaluate import COMPOSED, table

__all__ = ["is_described", "model_card"]


def is_described(manifest: Manifest) -> bool:
    """Return whether a manifest says all that a card does: those of the first format, without biases, do not."""
    return "balanced_calibration_error" in manifest.metrics and "label_prior" in manifest.training


def model_card(manifest: Manifest) -> str:
    """Return the card as Markdown, with the front matter that Hugging Face's hub reads."""
    splits = manifest.data["splits"]
    sources = sorted({source for part in splits.values() for source in part["sources"]} - {COMPOSED})
    origin = "statements composed for this project" + (
        f", and public statements from {', '.join(sources)}, kept only as labels and pointers" if sources else ""
    )
    return f"""---
license: apache-2.0
language: en
pipeline_tag: text-classification
base_model: {PUBLISHED.get(manifest.base["sha256"], manifest.base["name"])}
---

# Stance in a security confrontation, version {manifest.version}

**What it does.** Reads one English statement of one source, one to four sentences, and says what it does to a
confrontation between states or organised armed actors: {", ".join(f"`{label}`" for label in manifest.labels)}. The
labels are defined in `data/CODEBOOK.md`.

**Made by** Brink {manifest.code["version"]} (commit {manifest.code["commit"] or "not recorded"}) from
`{manifest.base["name"]}`{_base_rights(manifest)}, with mean pooling and one linear layer;
served as an ONNX network with 8-bit weights. Licence: Apache-2.0.

## Intended use

For analysts, newsrooms and researchers who sort many statements and read the doubtful ones themselves: an answer with
`abstained` is meant for a person. Statements of leaders, ministries, alliances, armed groups, envoys, experts and
reporters, in their own words or reported.

## What it must not be used for

- Any decision about a person, and any decision about the use of force, whether automatic or by someone who has read
  only the label.
- Intent, truth or legality: it reads what the words do on their face, not what the speaker means or will do.
- Proof that one side escalates more than another. Its errors differ by topic, region and register, and the counts of
  labels carry those errors.
- Other languages than English, or whole documents; a long text is read in windows and their mean is only a hint.

## Data

{origin[0].upper() + origin[1:]}. Training {splits["train"]["statements"]:,}, validation
{splits["validation"]["statements"]:,} and test {splits["test"]["statements"]:,} statements; contrast groups, statements
of one document and near duplicates never span two of them. Fingerprint `{manifest.data["fingerprint"]}`.

| split | {" | ".join(manifest.labels)} |
|{" --- |" * (len(manifest.labels) + 1)}
{_label_rows(manifest)}

## Scores on the test split

Of the network that is served, with 95% bootstrap intervals over statements. Macro-F1 is the mean of the F1 of
the labels.

{table(manifest.metrics)}

Labels are said of text in which each is as common as any other, unless the version was told otherwise
(`label_prior` {manifest.training["label_prior"]}). Calibration error is given as the statements of the test split lie,
and with their labels weighted alike. More in `report/`.

Prediction sets are meant to hold the right label at a rate of {manifest.set_coverage:.0%}; on the test split they do at
{manifest.metrics["balanced_set_coverage"]:.1%} with the labels weighted alike, and at
{manifest.metrics["set_coverage"]:.1%} as they lie, with {manifest.metrics["set_size"]:.2f} labels on average.
Temperature {manifest.temperature:.3f}, biases {", ".join(f"{bias:+.2f}" for bias in manifest.biases)}, threshold
{manifest.threshold:.3f} and the sets were fitted on the validation split.
{_parity(manifest)}

## Limits

- Hard for it, as for people: threats that compel against threats that deter, refusals dressed as conditions, and
  general professions of peace against appeals. Irony and allusion are rare in its training data.
- The calibration holds for statements like those of the test split. Where the mix of labels or the register is another,
  confidence can be too high; label some of your own and measure.
- The test split comes from the same writers and sources as the training data, so expect lower scores on other text.
"""


def _parity(manifest: Manifest) -> str:
    if refitted := manifest.training.get("refitted"):
        return (
            f"Only its last layer was fitted anew, from version {refitted['from']}; the encoder is as it was. As "
            f"written it gave the label that was fitted to {manifest.parity['label_agreement']:.1%} of "
            f"{manifest.parity['statements']} statements."
        )
    return (
        f"Against the trained network, quantisation kept the label of {manifest.parity['label_agreement']:.1%} of the "
        f"test\nsplit and changed no probability by more than {manifest.parity['max_difference']:.3f}."
    )


def _base_rights(manifest: Manifest) -> str:
    published = PUBLISHED.get(manifest.base["sha256"])
    return f" (published as {published}, Apache-2.0)" if published else ""


def _label_rows(manifest: Manifest) -> str:
    return "\n".join(
        f"| {name} | " + " | ".join(str(part["labels"].get(label, 0)) for label in manifest.labels) + " |"
        for name, part in manifest.data["splits"].items()
    )
