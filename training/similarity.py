"""Texts that say nearly the same, by the word triples they share: sparse matrix products, no model."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer

__all__ = ["connected_groups", "near_duplicates", "repeating"]

_SHINGLE = 3


def near_duplicates(texts: Sequence[str], threshold: float) -> list[tuple[int, int, float]]:
    """Return the pairs of texts whose sets of word triples overlap by at least `threshold` (Jaccard, in (0, 1]).

    Texts of fewer than three words have no triple and pair with nothing. Pairs come as (i, j, overlap) with i < j.
    """
    vectorizer = CountVectorizer(ngram_range=(_SHINGLE, _SHINGLE), binary=True, token_pattern=r"(?u)\b\w+\b")
    try:
        shingles = vectorizer.fit_transform(texts).astype(np.int32)  # (texts, triples)
    except ValueError:  # "empty vocabulary": no text has three words
        return []
    sizes = np.asarray(shingles.sum(axis=1)).ravel()
    shared = (shingles @ shingles.T).tocoo()
    above = shared.row < shared.col
    rows, columns, common = shared.row[above], shared.col[above], shared.data[above]
    overlap = common / (sizes[rows] + sizes[columns] - common)
    kept = overlap >= threshold
    return [(int(i), int(j), float(o)) for i, j, o in zip(rows[kept], columns[kept], overlap[kept], strict=True)]


def repeating(known: Sequence[str], texts: Sequence[str], threshold: float) -> set[int]:
    """Return the places of the texts that pair with a known one, as `near_duplicates` pairs them."""
    pairs = near_duplicates([*known, *texts], threshold)
    return {j - len(known) for i, j, _ in pairs if i < len(known) <= j}


def connected_groups(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each of `count` items the number of its group, where every pair ties its two items together."""
    first = np.array([pair[0] for pair in pairs], dtype=np.int64)
    second = np.array([pair[1] for pair in pairs], dtype=np.int64)
    edges = coo_matrix((np.ones(len(pairs)), (first, second)), shape=(count, count))
    return [int(group) for group in connected_components(edges, directed=False)[1]]
