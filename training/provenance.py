"""What a version learnt from, as its folder records it: ids for people, digests of the texts for whoever checks.

An id says which statement was meant, a digest which text was read. Only by the second can it be told that no tested
text was among those learnt from, whatever it was called there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.artifact import STATEMENTS, Manifest
from model.labels import text_digest
from training.corpus import fingerprint_of, json_rows
from training.errors import CorpusError
from training.split import PARTS, Split

__all__ = ["Provenance", "known_to"]

_DIGESTS = "digests"


@dataclass(frozen=True)
class Provenance:
    """The statements of each part of a version, and of the versions that it was refitted from.

    Attributes:
        ids: by part, those of `training.split.PARTS`.
        digests: SHA-256 of the normalised texts, by part, sorted; None where a version was written before they were
            noted, or was refitted from such a one.
    """

    ids: Mapping[str, Sequence[str]]
    digests: Mapping[str, Sequence[str]] | None

    @classmethod
    def of_split(cls, split: Split) -> "Provenance":
        """Return that of a version that is trained on a split."""
        parts = {part: getattr(split, part) for part in PARTS}
        return cls(
            {part: [each.id for each in statements] for part, statements in parts.items()},
            {part: sorted({text_digest(each.text) for each in statements}) for part, statements in parts.items()},
        )

    @classmethod
    def read(cls, folder: Path) -> "Provenance":
        """Return that of a version's folder.

        Raises:
            CorpusError: it records nothing, or something else.
        """
        path = folder / STATEMENTS
        if not path.is_file():
            raise CorpusError(f"{folder} lacks {STATEMENTS}, which says what it was trained on; fit the version anew.")
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            digests = raw.get(_DIGESTS)
            return cls(
                {part: list(raw[part]) for part in PARTS},
                None if digests is None else {part: list(digests[part]) for part in PARTS},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorpusError(f"{path} does not list the statements of {', '.join(PARTS)}: {error!r}.") from error

    def write(self, folder: Path) -> None:
        """Write it into a version's folder."""
        content = {**self.ids} | ({} if self.digests is None else {_DIGESTS: {**self.digests}})
        (folder / STATEMENTS).write_text(json.dumps(content) + "\n", encoding="utf-8")

    @property
    def learnt_ids(self) -> set[str]:
        """The ids of the statements that weights or calibration were fitted on."""
        return {*self.ids["train"], *self.ids["validation"]}

    @property
    def learnt_digests(self) -> set[str] | None:
        """The digests of their texts; None where they are not known."""
        return None if self.digests is None else {*self.digests["train"], *self.digests["validation"]}

    def with_digests(self, paths: Iterable[Path], manifest: Manifest) -> "Provenance":
        """Return this with the digests of the texts, from files that are proven to hold the very ones.

        Args:
            paths: files or folders of statements, with `text`, or of pointers, with `sha256`.
            manifest: of the version, whose fingerprints tell whether these are its statements.

        Raises:
            CorpusError: a statement is missing, or its text or label is another than it was.
        """
        rows = {str(row.get("id")): _row(row, place) for place, row in json_rows(paths)}
        digests = {}
        for part, ids in self.ids.items():
            if missing := [id_ for id_ in ids if id_ not in rows]:
                raise CorpusError(f"{len(missing)} statements of {part} are not there, {missing[0]!r} among them.")
            found = [rows[id_] for id_ in ids]
            came, expected = fingerprint_of(found), manifest.data["splits"][part]["fingerprint"]
            if came != expected:
                raise CorpusError(
                    f"these are not the statements of {part} as they were: expected the fingerprint {expected}, "
                    f"came {came}."
                )
            digests[part] = sorted({digest for _, digest, _ in found})
        return replace(self, digests=digests)

    def after(self, earlier: "Provenance | None") -> "Provenance":
        """Return this with what the version that it was refitted from had learnt, as training; None is not known."""
        if earlier is None:
            return Provenance(self.ids, None)
        both = None
        if self.digests is not None and earlier.learnt_digests is not None:
            both = {**self.digests} | {"train": sorted({*self.digests["train"], *earlier.learnt_digests})}
        return Provenance({**self.ids} | {"train": sorted({*self.ids["train"], *earlier.learnt_ids})}, both)


def known_to(folder: Path) -> Set[str]:
    """Return the digests of the texts that a version has learnt from; none of a version that does not say."""
    try:
        return Provenance.read(folder).learnt_digests or frozenset()
    except CorpusError:  # of an old release
        return frozenset()


def _row(row: Mapping[str, Any], place: str) -> tuple[str, str, str]:
    """Return the id, the digest of the text and the label of a statement or a pointer."""
    digest = text_digest(row["text"]) if isinstance(row.get("text"), str) else row.get("sha256")
    if not all(isinstance(value, str) for value in (row.get("id"), digest, row.get("label"))):
        raise CorpusError(f"{place}: expected 'id', 'label' and 'text' or 'sha256', came {', '.join(row) or 'none'}")
    return row["id"], str(digest), row["label"]
