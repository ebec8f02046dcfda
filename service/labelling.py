"""From uploads to the store, every row checked by itself; and from the store to what training reads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from model.classifier import check_text
from model.errors import UnclassifiableTextError
from model.labels import ACTS
from service.errors import InvalidError
from service.imports import Found
from service.store import Labelled, Statement, Store

__all__ = ["LabelSet", "RowOutcome", "add_found", "check_name", "check_row", "export_line"]

_MAX_NAME = 200


@dataclass(frozen=True)
class RowOutcome:
    """What became of one label of an upload; `reason` says why it was not accepted."""

    line: int
    status: Literal["accepted", "duplicate", "conflicting", "rejected"]
    id: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LabelSet:
    """The labels that may be given, and the acts beneath each; a label without acts takes none."""

    labels: Sequence[str]
    acts: Mapping[str, Sequence[str]]

    @classmethod
    def of_model(cls, labels: Sequence[str]) -> "LabelSet":
        """Return the set of a model; the acts are those of the codebook, whether the model knows them all or not."""
        return cls(labels, {label: ACTS.get(label, ()) for label in labels})

    def check(self, label: str, act: str | None) -> None:
        """Raise `InvalidError` where the label is none of the set, or the act none beneath it."""
        if label not in self.labels:
            raise InvalidError(f"expected one of the labels {', '.join(self.labels)}, came {label[:100]!r}.")
        acts = self.acts.get(label, ())
        if act is not None and act not in acts:
            known = f"one of {', '.join(acts)}" if acts else "none"
            raise InvalidError(f"expected as the act of {label} {known}, came {act[:100]!r}.")


def add_found(
    store: Store,
    found: Iterable[Found],
    label_set: LabelSet,
    who: str,
    annotator: str | None = None,
    source: str | None = None,
) -> list[RowOutcome]:
    """Add the labels of an upload, all that can be, in one transaction.

    Args:
        store: to add to.
        found: the rows of the upload.
        label_set: that labels are checked against.
        who: is sending it.
        annotator: of rows that name none; whoever is sending it by default.
        source: of rows that name none.
    """
    outcomes: dict[int, RowOutcome] = {}
    good: list[tuple[int, int, Labelled]] = []
    for place, each in enumerate(found):
        try:
            good.append((place, each.line, check_row(each, label_set, annotator or who, source)))
        except (InvalidError, UnclassifiableTextError) as error:
            outcomes[place] = RowOutcome(each.line, "rejected", reason=str(error))
    added = store.add([row for _, _, row in good], who) if good else []
    for (place, line, _), outcome in zip(good, added, strict=True):
        outcomes[place] = RowOutcome(line, outcome.status, outcome.id, outcome.reason)
    return [outcomes[place] for place in sorted(outcomes)]


def check_row(found: Found, label_set: LabelSet, annotator: str, source: str | None) -> Labelled:
    """Return a row as the store takes it; `annotator` and `source` stand for what it does not name.

    Raises:
        InvalidError: there is no text or label, or one that does not fit.
        UnclassifiableTextError: the text is none that a model can read.
    """
    if found.problem is not None or found.text is None or found.label is None:
        raise InvalidError(f"{found.problem or 'expected a text and a label'}.")
    check_text(found.text)
    if "\0" in found.text:
        raise InvalidError("expected a text without the character NUL, which databases do not keep.")
    annotator, source = found.annotator or annotator, found.source or source
    check_name("annotator", annotator)
    if source is not None:
        check_name("source", source)
    label_set.check(found.label, found.act)
    return Labelled(found.text, found.label, annotator, found.act, source)


def check_name(what: str, name: str) -> None:
    """Raise `InvalidError` where a name, of an annotator or a source, is not what databases keep and people read."""
    if not (name.strip() and name.isprintable() and len(name) <= _MAX_NAME):
        raise InvalidError(f"expected as {what} at most {_MAX_NAME} printable characters, came {name[:50]!a}.")


def export_line(statement: Statement) -> dict[str, str]:
    """Return a statement as `training.corpus` reads it: one that is not composed for a corpus has a source."""
    fields = {name: getattr(statement, name) for name in ("id", "text", "label", "act")}
    return {name: value for name, value in fields.items() if value is not None} | {
        "source": statement.source or "labelled"
    }
