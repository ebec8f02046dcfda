"""Labelled statements: reading them from JSON Lines, checking every line, and the fingerprint of a set of them.

Two kinds of file are read. The project's own corpus has every field of `Statement`; a team's own file needs only
`id`, `text` and `label`. Knows nothing of splits, tokens or networks.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.classifier import check_text
from model.errors import UnclassifiableTextError
from model.labels import ACTS, text_digest
from training.errors import CorpusError

__all__ = [
    "CONFRONTATIONS",
    "ERAS",
    "EXPLICITNESS",
    "REGIONS",
    "REGISTERS",
    "SPEAKERS",
    "Statement",
    "act_indices",
    "fingerprint",
    "fingerprint_of",
    "gold_indices",
    "json_rows",
    "numbered_lines",
    "one_of_each_text",
    "read_statements",
    "statement_files",
]

REGIONS = (
    "africa", "americas", "central-asia-caucasus", "east-asia", "europe", "global", "middle-east", "oceania",
    "south-asia", "southeast-asia",
)  # fmt: skip
ERAS = ("pre-1945", "cold-war", "1990-2009", "2010-now", "future")
REGISTERS = (
    "archaic", "briefing", "communique", "everyday", "expert", "militia", "note", "op-ed", "parliament", "post",
    "quotation", "remark", "resolution", "rhetoric", "wire",
)  # fmt: skip
CONFRONTATIONS = (
    "interstate-crisis", "civil-war", "proxy-war", "border", "blockade", "cyber-space", "economic", "nuclear",
    "airspace-maritime", "hostages", "arms-control", "peacekeeping", "none",
)  # fmt: skip
SPEAKERS = (
    "leader", "minister", "diplomat", "military", "armed-group", "international-body", "legislator", "expert",
    "reporter", "citizen",
)  # fmt: skip
EXPLICITNESS = ("explicit", "implicit")

_MAX_PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class Statement:
    """One labelled statement.

    Attributes:
        id: unique in the set.
        text: one to four sentences of one source.
        label: one of the run's labels.
        act: what the statement does, one of the label's acts; None where nobody has said.
        group: of the contrast group, statements of one scene that must stay in one split; None outside a group.
        region: of the confrontation; None where nobody has said, as with the five that follow.
        era: in which it is set.
        register: kind of text.
        confrontation: type of it.
        speaker: whose stance it is.
        explicitness: whether the words say it, or an informed reader has to supply the sense.
        source: public collection that the text comes from; None for statements composed for this project.
        document: of the source; statements of one document stay in one split.
    """

    id: str
    text: str
    label: str
    act: str | None = None
    group: str | None = None
    region: str | None = None
    era: str | None = None
    register: str | None = None
    confrontation: str | None = None
    speaker: str | None = None
    explicitness: str | None = None
    source: str | None = None
    document: str | None = None


def statement_files(paths: Iterable[Path]) -> list[Path]:
    """Return the JSON Lines files among `paths`: each file itself, and for a folder the ones in it, by name."""
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not found or not found[0].is_file():
            raise CorpusError(f"no statements at {path}: expected a .jsonl file or a folder that holds some.")
        files += found
    return files


def numbered_lines(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield every line with something in it of files and folders, each after its place, `FILE:NUMBER`."""
    for path in statement_files(paths):
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                yield f"{path}:{number}", line


def json_rows(paths: Iterable[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the JSON object of every line of files and folders, each after its place, `FILE:NUMBER`.

    Raises:
        CorpusError: a line is no JSON object.
    """
    for place, line in numbered_lines(paths):
        try:
            yield place, _object(line)
        except CorpusError as error:
            raise CorpusError(f"{place}: {error}") from error


def _object(line: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(line.decode("utf-8"))
    except ValueError as error:
        raise CorpusError(f"expected a JSON object in UTF-8 ({error})") from error
    if not isinstance(raw, dict):
        raise CorpusError(f"expected a JSON object, came {type(raw).__name__}")
    return raw


def read_statements(paths: Iterable[Path], labels: Sequence[str]) -> list[Statement]:
    """Read every statement of files and folders.

    Raises:
        CorpusError: naming file, line and reason of up to twenty bad lines, an id used twice, an unknown label, or a
            text that no version could classify.
    """
    statements: dict[str, Statement] = {}
    problems: list[str] = []
    for place, line in numbered_lines(paths):
        try:
            statement = _parse(line, labels)
            if statement.id in statements:
                raise CorpusError(f"the id {statement.id!r} was used before")
        except CorpusError as error:
            problems.append(f"{place}: {error}")
        else:
            statements[statement.id] = statement
    if problems:
        more = len(problems) - _MAX_PROBLEMS_SHOWN
        shown = problems[:_MAX_PROBLEMS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise CorpusError("bad statements; nothing was read:\n" + "\n".join(shown))
    return list(statements.values())


def _parse(line: bytes, labels: Sequence[str]) -> Statement:
    raw = _object(line)
    values = {name: raw.get(name) for name in Statement.__dataclass_fields__}
    for name, value in values.items():
        _check_string(name, value, required=name in {"id", "text", "label"})
    try:
        check_text(raw["text"])
    except UnclassifiableTextError as error:
        raise CorpusError(f"{raw['id']!r}: {error}") from error
    if values["label"] not in labels:
        raise CorpusError(f"expected one of the labels {', '.join(labels)}, came {values['label']!r}")
    statement = Statement(**values)  # type: ignore[arg-type]  # checked one by one above
    acts = ACTS.get(statement.label)
    if statement.act is not None and acts is not None and statement.act not in acts:
        raise CorpusError(f"the act {statement.act!r} is none of {statement.label}: expected one of {', '.join(acts)}")
    return statement


def _check_string(name: str, value: Any, required: bool) -> None:
    if value is None and not required:
        return
    if not isinstance(value, str) or not value.strip():
        raise CorpusError(f"expected {name!r} to be a string with something in it, came {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CorpusError(f"{name!r} holds a lone surrogate; expected valid Unicode") from None


def fingerprint(statements: Iterable[Statement]) -> str:
    """Return a SHA-256 of ids, texts and labels that does not depend on their order or on how files divide them."""
    return fingerprint_of((each.id, text_digest(each.text), each.label) for each in statements)


def fingerprint_of(rows: Iterable[tuple[str, str, str]]) -> str:
    """Return the fingerprint of statements whose texts need not be at hand: id, digest of the text, label."""
    lines = sorted("\t".join(row) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def one_of_each_text(statements: Iterable[Statement]) -> list[Statement]:
    """Return the first statement of each text, in their order.

    Raises:
        CorpusError: the same text has two labels.
    """
    first: dict[str, Statement] = {}
    for statement in statements:
        earlier = first.setdefault(text_digest(statement.text), statement)
        if earlier.label != statement.label:
            raise CorpusError(
                f"{earlier.id!r} and {statement.id!r} are the same text with the labels {earlier.label} and "
                f"{statement.label}; keep one."
            )
    return list(first.values())


def gold_indices(statements: Sequence[Statement], labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the place of each statement's label among `labels`, shape (statements,)."""
    place = {label: index for index, label in enumerate(labels)}
    return np.array([place[each.label] for each in statements], dtype=np.int64)


def act_indices(
    statements: Sequence[Statement], labels: Sequence[str], acts: Mapping[str, Sequence[str]]
) -> npt.NDArray[np.int64]:
    """Return the place of each statement's act among a network's outputs, shape (statements,); -1 where it has none.

    The outputs are the acts of each label in turn; a label without acts has one of its own.
    """
    outputs = [(label, act) for label in labels for act in acts.get(label) or (None,)]
    place = {output: index for index, output in enumerate(outputs) if output[1] is not None}
    return np.array([place.get((each.label, each.act), -1) for each in statements], dtype=np.int64)
