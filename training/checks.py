"""The checks of the gate: from what two versions answered to whether the second may take the first one's place.

Pure functions. Every pair is of the champion and of the challenger, in this order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.artifact import Manifest
from model.classifier import Prediction
from training.compare import Comparison, compare, group_gain, whole_groups
from training.corpus import Statement, gold_indices
from training.evaluate import score_answers
from training.limits import GateLimits
from training.parity import MAX_DIFFERENCE, MIN_AGREEMENT
from training.verdict import Check

__all__ = [
    "Answers",
    "calibration",
    "contrast_groups",
    "overall",
    "own",
    "parity",
    "plain_statements",
    "recalls",
    "unseen",
]

_SHOWN = 5


@dataclass(frozen=True)
class Answers:
    """What two versions answered to the same statements.

    Attributes:
        statements: with their labels.
        comparison: of the two.
        right: of each version, whether it was right, shape (statements,).
        metrics: of each version, as `training.evaluate` scores it.
        balanced: the challenger is calibrated for text in which every label is as common as any other.
    """

    statements: Sequence[Statement]
    comparison: Comparison
    right: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
    metrics: tuple[dict[str, Any], dict[str, Any]]
    balanced: bool

    @classmethod
    def of(
        cls, statements: Sequence[Statement], answers: Sequence[Sequence[Prediction]], manifests: Sequence[Manifest]
    ) -> "Answers":
        """Return them with everything that the checks need."""
        labels = manifests[0].labels
        gold = gold_indices(statements, labels)
        said = [np.array([labels.index(each.label) for each in version]) for version in answers]
        metrics = [score_answers(*each) for each in zip(manifests, [statements] * 2, answers, strict=True)]
        return cls(
            statements,
            compare(said[0], said[1], gold, labels),
            (said[0] == gold, said[1] == gold),
            (metrics[0], metrics[1]),
            manifests[1].training.get("label_prior", "uniform") == "uniform",
        )


def overall(answers: Answers, limits: GateLimits) -> Check:
    """Check that what the test split leaves open is no greater loss of macro-F1 than the margin."""
    return _not_worse("macro-F1, test split", answers.comparison, limits.overall_margin)


def own(answers: Answers, limits: GateLimits) -> Check:
    """Check the same of the users' own share; where it is small, that its accuracy does not drop too far."""
    found = answers.comparison
    if found.statements >= limits.own_enough:
        return _not_worse("macro-F1, own statements", found, limits.own_margin)
    drop = found.accuracy[0] - found.accuracy[1]
    return Check(
        "accuracy, own statements",
        drop <= limits.own_max_drop,
        {"champion": found.accuracy[0], "challenger": found.accuracy[1], "statements": found.statements},
        f"a drop of at most {limits.own_max_drop:.3f}, of fewer than {limits.own_enough} statements",
        f"{found.accuracy[1]:.3f} after {found.accuracy[0]:.3f} of {found.statements} statements",
    )


def _not_worse(name: str, found: Comparison, margin: float) -> Check:
    low, high = found.macro_f1_gain
    champion, challenger = found.macro_f1
    return Check(
        name,
        -low <= margin,
        {"champion": champion, "challenger": challenger, "gain_95": [low, high], "statements": found.statements},
        f"a loss of at most {margin:.3f}, with 95% certainty",
        f"{challenger:.3f} after {champion:.3f}; gain in [{low:+.3f}, {high:+.3f}]",
    )


def recalls(answers: Answers, limits: GateLimits) -> list[Check]:
    """Check of every label that occurs that its recall has not certainly fallen by more than the margin."""
    return [
        _not_fallen(f"recall of {label}", pair, answers.comparison.recall_gain[label], limits.recall_margin)
        for label, pair in answers.comparison.recall.items()
    ]


def contrast_groups(answers: Answers, limits: GateLimits) -> Check:
    """Check that the share of contrast groups wholly right has not certainly fallen by more than the margin."""
    (before, count), (after, _) = (whole_groups(answers.statements, right) for right in answers.right)
    if not count:
        limit = f"a fall of at most {limits.group_margin:.3f} beyond noise"
        return Check("contrast groups wholly right", True, {"groups": 0}, limit, "the test split has none")
    gain = group_gain(answers.statements, *answers.right)
    return _not_fallen("contrast groups wholly right", (before / count, after / count), gain, limits.group_margin)


def _not_fallen(name: str, pair: tuple[float, float], gain: tuple[float, float], margin: float) -> Check:
    low, high = gain
    return Check(
        name,
        -high <= margin,
        {"champion": pair[0], "challenger": pair[1], "gain_95": [low, high]},
        f"a fall of at most {margin:.3f} beyond noise: the 95% interval reaches {-margin:+.3f}",
        f"{pair[1]:.3f} after {pair[0]:.3f}; gain in [{low:+.3f}, {high:+.3f}]",
    )


def calibration(answers: Answers, limits: GateLimits) -> Check:
    """Check that the challenger's calibration error is small, or hardly above the champion's."""
    name = "balanced_calibration_error" if answers.balanced else "calibration_error"
    champion, challenger = (each[name] for each in answers.metrics)
    limit = max(limits.calibration_floor, champion + limits.calibration_margin)
    return Check(
        "calibration error, test split",
        challenger <= limit,
        {"champion": champion, "challenger": challenger, "limit": round(limit, 4)},
        f"at most {limit:.3f}",
        f"{challenger:.3f} after {champion:.3f}",
    )


def parity(manifest: Manifest) -> Check:
    """Check that the challenger's network was found to answer like the one that was trained."""
    limit = f"the same label on at least {MIN_AGREEMENT:.0%}, no probability off by more than {MAX_DIFFERENCE}"
    found = manifest.parity
    agreement, difference = found.get("label_agreement"), found.get("max_difference")
    if not isinstance(agreement, (int, float)) or not isinstance(difference, (int, float)):
        return Check("parity", False, dict(found), limit, "its manifest does not say how its network was checked")
    passed = agreement >= MIN_AGREEMENT and difference <= MAX_DIFFERENCE
    return Check("parity", passed, dict(found), limit, f"{agreement:.1%}, {difference:.3f}")


def plain_statements(right: tuple[int, int] | None, count: int, wrong: Sequence[str] = ()) -> Check:
    """Check that as many plain statements are right as the champion has right; None of models of other labels."""
    if right is None:
        return Check("plain statements", True, {"statements": 0}, "as many right as before", "of other labels")
    missed = "".join(f"; wrong: {text!r}" for text in wrong[:_SHOWN])
    return Check(
        "plain statements",
        right[1] >= right[0],
        {"champion": right[0], "challenger": right[1], "statements": count},
        f"at least {right[0]} of {count} right, as of the champion",
        f"{right[1]} of {count} right{missed}",
    )


def unseen(seen: Sequence[str] | None, count: int, problem: str | None = None) -> Check:
    """Check that none of the statements that were measured was learnt from; None where that is not known."""
    limit = f"none of {count:,} texts, by SHA-256"
    if seen is None:
        problem = problem or (
            "it does not say by digest which texts it, and the version that it was refitted from, learnt from; "
            "`python -m training release --texts` notes them where the statements are at hand"
        )
        return Check("measured texts in its training data", False, {"seen": None, "texts": count}, limit, problem)
    named = f": {', '.join(seen[:_SHOWN])}{' and others' if len(seen) > _SHOWN else ''}" if seen else ""
    return Check(
        "measured texts in its training data",
        not seen,
        {"seen": len(seen), "texts": count},
        limit,
        f"{len(seen):,}{named}",
    )
