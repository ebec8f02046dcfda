"""Challenger against champion: promoted only if it is not worse, by checks that all say their numbers.

Both answer the frozen test split and the share of the users' own statements that no training reads. Only reports and
decides; what becomes of a verdict is another's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.artifact import Manifest, read_manifest
from model.classifier import Classifier, Prediction
from model.labels import text_digest
from training import checks
from training.config import FitConfig
from training.corpus import Statement, read_statements
from training.errors import CorpusError
from training.evaluate import predict
from training.features import ShippedEncoder
from training.limits import GateLimits
from training.own import read_own
from training.provenance import Provenance, known_to
from training.split import read_splits, split_statements
from training.verdict import Check, Verdict

__all__ = ["Exam", "judge"]


@dataclass(frozen=True)
class Exam:
    """What both versions answer.

    Attributes:
        test: the frozen test split.
        own: the users' own statements that are held out.
    """

    test: list[Statement]
    own: list[Statement]

    @classmethod
    def read(cls, labels: Sequence[str], data: Sequence[Path], splits: Path | None, own: Sequence[Path]) -> "Exam":
        """Read it from the same files as a training.

        Raises:
            CorpusError: they are bad, or the test split would be empty.
        """
        known = read_splits(splits) if splits else {}
        statements = read_statements(data, labels)
        split = split_statements(statements, FitConfig.validation_share, FitConfig.test_share, known)
        return cls(split.test, read_own(own, labels).held_out)


def judge(
    challenger: Path,
    champion: Path,
    data: Sequence[Path],
    splits: Path | None = None,
    own: Sequence[Path] = (),
    limits: GateLimits | None = None,
    cache: Path | None = None,
) -> Verdict:
    """Check whether a challenger may take the champion's place.

    Args:
        challenger: folder of a version.
        champion: folder of the version that serves.
        data: files and folders of labelled statements, of which the test split is used.
        splits: folder of split files; what they do not name is split by hash.
        own: files and folders of the users' own labelled statements, of which the held-out share is used.
        limits: of the checks.
        cache: of features, where a quick training has one; without it both networks read every text.

    Raises:
        TrainingError: the two cannot be compared, or there is nothing to compare them on.
        ModelError: a folder is not whole.
    """
    limits = limits or GateLimits()
    folders = (champion, challenger)
    manifests = tuple(read_manifest(folder) for folder in folders)
    labels = manifests[0].labels
    if manifests[1].labels != labels:
        raise CorpusError(f"expected two models of the same labels, came {labels} and {manifests[1].labels}.")
    exam = Exam.read(labels, data, splits, own)
    # What the champion was trained on it has an advantage in, and no version after it can be held out from.
    known = known_to(champion)
    exam = Exam(exam.test, [each for each in exam.own if text_digest(each.text) not in known])
    plain = [Statement(f"plain-{place}", *each) for place, each in enumerate(limits.plain_statements)]
    if not {each.label for each in plain} <= set(labels):
        plain = []
    answers = [_answers(folder, [*exam.test, *exam.own, *plain], cache) for folder in folders]
    return Verdict(
        manifests[1].version,
        manifests[0].version,
        {"test": len(exam.test), "own": len(exam.own)},
        [
            *_measured(exam, answers, manifests, limits),
            checks.parity(manifests[1]),
            _plain(plain, [each[len(each) - len(plain) :] for each in answers], limits),
            _unseen(challenger, exam),
        ],
    )


def _measured(
    exam: Exam, answers: Sequence[Sequence[Prediction]], manifests: Sequence[Manifest], limits: GateLimits
) -> list[Check]:
    """Return the checks on the test split and on the own share, whose answers come first, in this order."""
    count, end = len(exam.test), len(exam.test) + len(exam.own)
    test = checks.Answers.of(exam.test, [each[:count] for each in answers], manifests)
    found = [
        checks.overall(test, limits),
        *checks.recalls(test, limits),
        checks.contrast_groups(test, limits),
        checks.calibration(test, limits),
    ]
    if exam.own:
        found.append(checks.own(checks.Answers.of(exam.own, [each[count:end] for each in answers], manifests), limits))
    return found


def _answers(folder: Path, statements: Sequence[Statement], cache: Path | None) -> list[Prediction]:
    if cache is not None:
        encoder = ShippedEncoder.open(folder)
        return encoder.answers(encoder.read(statements, cache))
    # Several sets of statements, whose ids may be the same: their places tell them apart.
    return predict(
        Classifier.load(folder), {f"{each.id} ({place})": each.text for place, each in enumerate(statements)}
    )


def _plain(statements: Sequence[Statement], answers: Sequence[Sequence[Prediction]], limits: GateLimits) -> Check:
    if not statements:
        return checks.plain_statements(None, len(limits.plain_statements))
    right = [[each.label == said.label for each, said in zip(statements, version, strict=True)] for version in answers]
    wrong = [each.text for each, is_right in zip(statements, right[1], strict=True) if not is_right]
    return checks.plain_statements((sum(right[0]), sum(right[1])), len(statements), wrong)


def _unseen(challenger: Path, exam: Exam) -> Check:
    digests = {text_digest(each.text): each.id for each in (*exam.test, *exam.own)}
    try:
        learnt = Provenance.read(challenger).learnt_digests
    except CorpusError as error:
        return checks.unseen(None, len(digests), str(error))
    seen = None if learnt is None else sorted(id_ for digest, id_ in digests.items() if digest in learnt)
    return checks.unseen(seen, len(digests))
