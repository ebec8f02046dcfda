"""The corpus report: what the corpus holds, how far its readers agree, and where it is thin. Markdown and plots.

Every figure is computed from the files as they are; nothing is typed in by hand.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from sklearn.metrics import f1_score

from model.labels import ACTS, LABELS, label_of_act
from training.agreement import Agreement, Reading, agreement, agreement_table, shown_alpha
from training.check import GRID, cue_pipeline, cue_score
from training.corpus import Statement
from training.errors import CorpusError
from training.plots import plot_counts, plot_curve, plot_lengths
from training.similarity import near_duplicates
from training.split import NEAR_DUPLICATE, PARTS, Split
from training.suspects import Suspect

__all__ = ["ReportInputs", "corpus_report"]

Table = list[list[object]]

_MAX_SUSPECTS = 60
_KINDS = 10


@dataclass(frozen=True)
class ReportInputs:
    """What a report is made from.

    Attributes:
        composed: the statements written for the project.
        real: those whose texts are at hand.
        pointers: rows of all real statements, texts or not.
        readings: of the composed statements, first and second reader, by id.
        split: of both.
        curve: points of `training.curve`; none where none was computed.
        suspects: labels that a model doubts.
        answers: validation statements with what that model says of each.
        decisions: by id, what was decided on a suspect, as text.
    """

    composed: Sequence[Statement]
    real: Sequence[Statement]
    pointers: Sequence[Mapping[str, Any]]
    readings: tuple[Mapping[str, Reading], Mapping[str, Reading]]
    split: Split
    curve: Sequence[Mapping[str, Any]] = ()
    suspects: Sequence[Suspect] = ()
    answers: Sequence[tuple[Statement, str]] = ()
    decisions: Mapping[str, str] = field(default_factory=dict)


def corpus_report(inputs: ReportInputs, folder: Path) -> None:
    """Write `README.md` and its plots into `folder`.

    Raises:
        CorpusError: there are no composed statements.
    """
    if not inputs.composed:
        raise CorpusError("expected composed statements, those without a source, to report on, came none.")
    folder.mkdir(parents=True, exist_ok=True)
    sections = [
        (
            "# Corpus report",
            ["Made by `python -m training corpus-report`; do not edit. See [../README.md](../README.md)."],
        ),
        ("## Counts", _counts(inputs, folder)),
        ("## The grid of the composed statements", _grid(inputs.composed, folder)),
        ("## Lengths", _lengths(inputs, folder)),
        ("## Agreement", _agreements(inputs)),
        ("## Split", _split(inputs.split)),
        ("## Near duplicates", _near_duplicates(inputs)),
        ("## Openings", _openings(inputs.composed)),
        ("## What a bag of words knows", _bag_of_words(inputs)),
        ("## Learning curves", _curve(inputs.curve, folder)),
        ("## What a model gets wrong most", _errors(inputs.answers)),
        ("## Suspected label errors", _suspects(inputs)),
    ]
    text = "\n\n".join("\n".join([heading, "", *lines]) for heading, lines in sections)
    (folder / "README.md").write_text(text + "\n", encoding="utf-8")


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]


def _by_label(pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Return counts by name, most first, then by label in the codebook's order, of pairs (name, label)."""
    counts = Counter(pairs)
    names = [name for name, _ in Counter(name for name, _ in pairs).most_common()]
    return {name: {label: counts[name, label] for label in LABELS} for name in names}


def _label_rows(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    rows: Table = [[name, *of_label.values(), sum(of_label.values())] for name, of_label in counts.items()]
    rows.append(["all", *(sum(row[label] for row in counts.values()) for label in LABELS)])
    rows[-1].append(sum(sum(row.values()) for row in counts.values()))
    return _table(["", *LABELS, "all"], rows)


def _counts(inputs: ReportInputs, folder: Path) -> list[str]:
    sources = _by_label([(str(row["source"]), str(row["label"])) for row in inputs.pointers])
    slices = _by_label([(each.id.rpartition("-")[0], each.label) for each in inputs.composed])
    plot_counts(sources | {"composed": _total(slices)}, "Statements by source and label", folder / "sources.svg")
    missing = len(inputs.pointers) - len(inputs.real)
    acts = Counter(each.act for each in inputs.composed)
    real_acts = Counter(row.get("act") for row in inputs.pointers)
    act_rows = [[label, act, acts[act], real_acts[act]] for label in LABELS for act in ACTS[label]]
    return [
        f"{len(inputs.composed):,} composed statements and {len(inputs.pointers):,} real ones, kept as pointers; the "
        f"texts of {missing:,} of these were not at hand for this report.",
        "",
        "![statements by source and label](sources.svg)",
        "",
        "Real statements by source:",
        "",
        *_label_rows(sources),
        "",
        "Composed statements by slice (the first part of the id):",
        "",
        *_label_rows(slices),
        "",
        "By act:",
        "",
        *_table(["label", "act", "composed", "real"], act_rows),
        "",
        f"{real_acts[None]:,} real statements have no act yet.",
    ]


def _total(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {label: sum(row[label] for row in counts.values()) for label in LABELS}


def _grid(composed: Sequence[Statement], folder: Path) -> list[str]:
    lines: list[str] = []
    for name in GRID:
        counts = _by_label([(str(getattr(each, name)), each.label) for each in composed])
        plot_counts(counts, f"Composed statements by {name}", folder / f"{name}.svg")
        lines += [f"### {name}", "", f"![by {name}]({name}.svg)", "", *_label_rows(counts), ""]
    eras = GRID["era"]
    crossed = Counter((each.region, each.era) for each in composed)
    rows = [[region, *(crossed[region, era] for era in eras)] for region in GRID["region"]]
    return [*lines, "### region by era", "", *_table(["", *eras], rows)]


def _lengths(inputs: ReportInputs, folder: Path) -> list[str]:
    parts = {"composed": inputs.composed, "real": inputs.real}
    words = {
        name: {label: [len(each.text.split()) for each in part if each.label == label] for label in LABELS}
        for name, part in parts.items()
        if part
    }
    plot_lengths(words, folder / "lengths.svg")
    rows = [
        [name, label, len(lengths), *(f"{value:.0f}" for value in (min(lengths), median(lengths), max(lengths)))]
        for name, of_label in words.items()
        for label, lengths in of_label.items()
        if lengths
    ]
    head = ["", "label", "statements", "fewest words", "median", "most"]
    return ["![words a statement](lengths.svg)", "", *_table(head, rows)]


def _agreements(inputs: ReportInputs) -> list[str]:
    first, second = inputs.readings
    both = [id_ for id_ in first if id_ in second]
    composed = [(first[id_], second[id_]) for id_ in both]
    real = [
        (Reading(row["first_label"], row.get("first_act")), Reading(row["second_label"], row.get("second_act")))
        for row in inputs.pointers
        if row.get("first_label") and row.get("second_label")
    ]
    lines = []
    for name, pairs in (("composed", composed), ("real", real)):
        if pairs:
            lines += [f"### {name}", "", *agreement_table(_labels_of(pairs)).splitlines(), ""]
            lines += _act_lines(pairs)
    settled = sum(bool(row.get("settled")) for row in inputs.pointers)
    once = sum(not row.get("second_label") for row in inputs.pointers)
    return [
        *lines,
        f"Of the real statements {settled:,} were settled after readers differed, and {once:,} were read only once.",
    ]


def _labels_of(pairs: Sequence[tuple[Reading, Reading]]) -> Agreement:
    return agreement([one.label for one, _ in pairs], [other.label for _, other in pairs], LABELS)


def _act_lines(pairs: Sequence[tuple[Reading, Reading]]) -> list[str]:
    named = [(one.act, other.act) for one, other in pairs if one.act and other.act]
    if not named:
        return []
    acts = [act for label in LABELS for act in ACTS[label]]
    found = agreement([one for one, _ in named], [other for _, other in named], acts)
    rows = [
        [label_of_act(act), act, int(found.confusion[index].sum()), shown_alpha(found.alpha_of[act])]
        for index, act in enumerate(found.values)
    ]
    head = f"Acts: {len(named):,} named by both, {found.agreed:.1%} alike; alpha {shown_alpha(found.alpha)}"
    return [head, "", *_table(["label", "act", "by the first", "alpha"], rows), ""]


def _split(split: Split) -> list[str]:
    counts = _by_label(
        [
            (f"{part}, {'composed' if each.source is None else 'real'}", each.label)
            for part in PARTS
            for each in getattr(split, part)
        ]
    )
    return _label_rows({name: counts[name] for name in sorted(counts)})


def _near_duplicates(inputs: ReportInputs) -> list[str]:
    part_of = {each.id: part for part in PARTS for each in getattr(inputs.split, part)}
    statements = [*inputs.composed, *inputs.real]
    pairs = [
        (statements[i], statements[j])
        for i, j, _ in near_duplicates([each.text for each in statements], NEAR_DUPLICATE)
    ]
    grouped = sum(one.group is not None and one.group == other.group for one, other in pairs)
    crossed = sum((one.source is None) != (other.source is None) for one, other in pairs)
    parts = [(part_of.get(one.id), part_of.get(other.id)) for one, other in pairs]
    leaks = sum(None not in both and both[0] != both[1] for both in parts)
    apart = sum(one.label != other.label and one.group is None for one, other in pairs)
    return [
        f"{len(pairs):,} pairs share half of their word triples or more: {grouped:,} of them are members of one "
        f"contrast group, {crossed:,} are a composed and a real statement, {apart:,} have no group and two labels, and "
        f"{leaks:,} lie in two parts of the split.",
    ]


def _openings(composed: Sequence[Statement]) -> list[str]:
    openings = Counter(" ".join(each.text.casefold().split()[:2]) for each in composed)
    rows = [[opening, count, f"{count / len(composed):.2%}"] for opening, count in openings.most_common(10)]
    return ["The commonest first two words of the composed statements:", "", *_table(["", "statements", "share"], rows)]


def _bag_of_words(inputs: ReportInputs) -> list[str]:
    rows: Table = []
    for name, kept in (("composed", [True]), ("real", [False]), ("both", [True, False])):
        train, test = (
            [each for each in part if (each.source is None) in kept] for part in (inputs.split.train, inputs.split.test)
        )
        if train and test:
            bag_of_words = cue_pipeline().fit([each.text for each in train], [each.label for each in train])
            said = bag_of_words.predict([each.text for each in test])
            rows.append(
                [name, len(train), len(test), f"{f1_score([each.label for each in test], said, average='macro'):.3f}"]
            )
    return [
        "Macro-F1 on the test split of single words and word pairs with logistic regression: the higher, the more the "
        "words give the label away without the sense.",
        "",
        *_table(["origin", "trained on", "tested on", "macro-F1"], rows),
        "",
        f"Cross-validated on all composed statements, groups kept together: {cue_score(inputs.composed):.3f}.",
    ]


def _curve(curve: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    if not curve:
        return ["Not computed yet: `python -m training curve`."]
    plot_curve(curve, folder / "curve.svg")
    measured = list(dict.fromkeys(name for point in curve for name in point["macro_f1"]))
    rows = [
        [
            point["origin"],
            f"{point['size']:,}",
            *(f"{point['macro_f1'].get(name, float('nan')):.3f}" for name in measured),
        ]
        for point in sorted(curve, key=lambda each: (each["origin"], each["size"]))
    ]
    recipe = f"base {curve[0]['base']}, seed {curve[0]['seed']}"
    head = ["trained on", "statements", *(f"macro-F1 on {name}" for name in measured)]
    return [
        f"One network a point, fine-tuned by the shipped recipe ({recipe}).",
        "",
        "![curve](curve.svg)",
        "",
        *_table(head, rows),
    ]


def _errors(answers: Sequence[tuple[Statement, str]]) -> list[str]:
    if not answers:
        return ["Not computed: give `--model`."]
    kinds = [("composed" if each.source is None else "real", each.label, str(each.act)) for each, _ in answers]
    wrong = Counter(kind for kind, (each, said) in zip(kinds, answers, strict=True) if said != each.label)
    said_of: dict[tuple[str, str, str], Counter[str]] = {}
    for kind, (each, said) in zip(kinds, answers, strict=True):
        if said != each.label:
            said_of.setdefault(kind, Counter())[said] += 1
    counts = Counter(kinds)
    rows = [
        [*kind, counts[kind], missed, f"{missed / counts[kind]:.0%}", said_of[kind].most_common(1)[0][0]]
        for kind, missed in wrong.most_common(_KINDS)
    ]
    return [
        f"Of {len(answers):,} validation statements {wrong.total():,} are wrong. The kinds with the most errors:",
        "",
        *_table(["origin", "label", "act", "statements", "wrong", "share", "most often called"], rows),
    ]


def _suspects(inputs: ReportInputs) -> list[str]:
    if not inputs.suspects:
        return ["Not computed: give `--model`."]
    decided = Counter(inputs.decisions.get(each.id, "open") for each in inputs.suspects)
    shown = ", ".join(f"{count} {decision}" for decision, count in decided.most_common())
    rows = [
        [each.id, each.label, each.suggested, f"{each.probability:.3f}", inputs.decisions.get(each.id, "open")]
        for each in inputs.suspects[:_MAX_SUSPECTS]
    ]
    return [
        f"Confident learning over the validation and test splits suspects {len(inputs.suspects)} labels: {shown}. "
        f"The {len(rows)} that the model believes least:",
        "",
        *_table(["id", "label", "model's", "its probability of the label", "decided"], rows),
    ]
