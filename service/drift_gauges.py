"""The numbers of `service.drift` as gauges for Prometheus."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.drift import Compared, Drift

__all__ = ["DriftCollector"]


class DriftCollector(Collector):
    """The numbers of a report as gauges, computed when they are asked for; what is not known is left out."""

    def __init__(self) -> None:
        self.drift: Drift | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges; none while there is no model."""
        if self.drift is None:
            return
        report = self.drift.report()
        yield GaugeMetricFamily("brink_drift_answers", "last answers that are compared", report.answers)
        psi = GaugeMetricFamily("brink_drift_psi", "population stability index against the training", labels=["of"])
        for name, value in (("labels", report.labels_psi), ("abstained", report.abstained_psi)):
            if value is not None:
                psi.add_metric([name], value)
        yield psi
        shares = GaugeMetricFamily("brink_drift_label_share", "share of each label", labels=["label", "of"])
        for label, share in report.labels.items():
            _add(shares, [label], share)
        yield shares
        for name, each in {"abstained": report.abstained, "confidence": report.confidence, **report.reading}.items():
            gauge = GaugeMetricFamily(f"brink_drift_{name}", _MEANINGS[name], labels=["of"])
            _add(gauge, [], each)
            yield gauge


_MEANINGS = {
    "abstained": "share of the answers that are abstained",
    "confidence": "mean confidence",
    "unknown_tokens": "share of the tokens that the vocabulary lacks",
    "tokens_per_word": "tokens a word: more of what the tokenizer was not made for",
    "tokens": "tokens a text",
}


def _add(gauge: GaugeMetricFamily, labels: Sequence[str], compared: Compared) -> None:
    for of, value in (("now", compared.now), ("expected", compared.expected)):
        if value is not None:
            gauge.add_metric([*labels, of], value)
