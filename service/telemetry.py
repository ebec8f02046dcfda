"""What an operator sees: structured logs with a request id, and Prometheus metrics. Nothing leaves the process."""

import logging
import sys
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import structlog
from asgi_correlation_id import correlation_id
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import InfoMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict, Processor, WrappedLogger

from model.artifact import Manifest
from model.classifier import Prediction
from model.errors import UnclassifiableTextError
from service.drift import Drift
from service.drift_gauges import DriftCollector

__all__ = ["Metrics", "RequestLog", "configure_logging"]

_log = structlog.get_logger(__name__)

# Seconds: from one statement on a fast processor to the largest request on a slow one.
_DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def configure_logging(level: str, log_format: str) -> None:
    """Send every log line, the libraries' too, to standard output as JSON or as text for a person."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
    # Plain tracebacks: the pretty ones show local variables, and with them the texts.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer: Any = structlog.processors.JSONRenderer() if log_format == "json" else console
    finish: list[Processor] = [structlog.processors.format_exc_info] if log_format == "json" else []
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish, renderer],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every look at the database's version


def _add_request_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if (request_id := correlation_id.get()) is not None:
        event["request_id"] = request_id
    return event


class Metrics:
    """The Prometheus metrics of one application.

    Counters, durations and what waits are sums over all workers. The model and the drift are those of the worker that
    is asked: all workers follow the same pointer, and each sees a part of the same requests.
    """

    def __init__(self, folder: str | None = None) -> None:
        """Begin at zero.

        Args:
            folder: which the library's `PROMETHEUS_MULTIPROC_DIR` names, where there are several workers.
        """
        self._folder = folder
        self.registry = CollectorRegistry()
        self._requests = self._counter("brink_http_requests", "answers", ["method", "route", "status"])
        self._durations = Histogram(
            "brink_http_request_duration_seconds",
            "from the request's first byte to the answer's last",
            ["route"],
            buckets=_DURATIONS_S,
            registry=self.registry,
        )
        self._predictions = self._counter("brink_predictions", "texts labelled", ["label", "abstained"])
        self._text_errors = self._counter("brink_text_errors", "texts that cannot be classified", ["code"])
        self._queued = self._gauge("brink_queued_texts", "texts accepted and not yet answered")
        self._queued_tokens = self._gauge("brink_queued_tokens", "tokens of these texts")
        self._load_failures = Counter(
            "brink_model_load_failures", "versions that did not load or did not answer", registry=self.registry
        )
        self._own = (_ModelCollector(), DriftCollector())

    def _counter(self, name: str, description: str, labels: Sequence[str]) -> Counter:
        return Counter(name, description, labels, registry=self.registry)

    def _gauge(self, name: str, description: str) -> Gauge:
        return Gauge(name, description, registry=self.registry, multiprocess_mode="livesum")

    def shown(self) -> CollectorRegistry:
        """Return what is to be shown: the metrics of all workers."""
        shown = CollectorRegistry()
        if self._folder is None:
            shown.register(self.registry)
        else:
            MultiProcessCollector(shown, self._folder)  # type: ignore[no-untyped-call]  # the library's
        for each in self._own:
            shown.register(each)
        return shown

    def serve(self, manifest: Manifest, drift: Drift) -> None:
        """Name the model that answers from now on, and show the drift of its answers."""
        model, shown_drift = self._own
        model.version, shown_drift.drift = manifest.version, drift

    def load_failed(self) -> None:
        """Count a version that was promoted, or should have been, and cannot serve."""
        self._load_failures.inc()

    def queue(self, texts: int, tokens: int) -> None:
        """Note how many texts wait, and how many tokens they have."""
        self._queued.set(texts)
        self._queued_tokens.set(tokens)

    def answered(self, answers: Sequence[Prediction | UnclassifiableTextError]) -> None:
        """Count the answers of one request."""
        for answer in answers:
            if isinstance(answer, Prediction):
                self._predictions.labels(answer.label, str(answer.abstained).lower()).inc()
            else:
                self._text_errors.labels(answer.code).inc()

    def request(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one HTTP answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._durations.labels(route).observe(duration_s)


class _ModelCollector(Collector):
    """Names the model that answers; the library's own class cannot where there are several workers."""

    def __init__(self) -> None:
        self.version: str | None = None

    def collect(self) -> Iterator[InfoMetricFamily]:
        """Yield its version; nothing while there is no model."""
        if self.version is not None:
            yield InfoMetricFamily("brink_model", "the model that answers", {"version": self.version})


class RequestLog:
    """Middleware: one log line and one count a request; of the texts, nothing."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass `scope` on and note how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            duration_s = perf_counter() - started
            # The template of the route, not the path: paths that clients make up would grow the metrics without end.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.request(method, route, status, duration_s)
            _log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round(duration_s * 1000, 1),
            )


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
