"""The steps of one training run: collect what is labelled, train, judge, publish and promote.

Training is done by `python -m training` in child processes; they and the service meet in the run's folder. Every step
can be begun anew where the service ended within it.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from model.artifact import MANIFEST, read_manifest
from model.versions import Pointer
from service.child import Child
from service.errors import TrainingFailedError
from service.labelling import export_line
from service.models import Models
from service.settings import Settings
from service.store import Filters, Store
from service.trainings import PROMOTING, State, Training

__all__ = ["Beat", "Ending", "Place", "Run", "Tools"]

_POLL_S = 0.2
_GRACE_S = 10.0
_LAST_LINE_BYTES = 4096
# How often a version is judged against a champion that was replaced meanwhile.
_MAX_CHAMPIONS = 3


@dataclass(frozen=True)
class Tools:
    """What a run works with.

    Attributes:
        settings: of the service.
        store: of the labelled statements.
        models: that serve.
        command: in place of `python -m training`, its first word the path of a program.
    """

    settings: Settings
    store: Store
    models: Models
    command: Sequence[str]


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    state: State
    found: dict[str, Any] = field(default_factory=dict)


class Beat(Protocol):
    """Says that the run goes on and how far it is; raises what ends it."""

    def __call__(self, progress: dict[str, Any] | None, must: bool = False) -> None:
        """Say it; `must` where nothing may be done before it is heard."""


class Place:
    """The files of one run."""

    def __init__(self, root: str, id_: str) -> None:
        self.folder = Path(root) / "runs" / id_
        self.own = self.folder / "own.jsonl"
        self.progress = self.folder / "progress.jsonl"
        self.log = self.folder / "log.txt"
        self.verdict = self.folder / "verdict.json"
        self.model = self.folder / "model"

    def discard_model(self) -> None:
        """Delete the version, which is published by now or wanted by nobody."""
        shutil.rmtree(self.model, ignore_errors=True)
        shutil.rmtree(self.model.with_name("model.part"), ignore_errors=True)


class Run:
    """One training run that is being carried out."""

    def __init__(self, training: Training, tools: Tools, beat: Beat, promote: Callable[[str, str], None]) -> None:
        """Do nothing yet.

        Args:
            training: what was asked for.
            tools: to work with.
            beat: called several times a second.
            promote: lets a published version serve; takes its name and who decided it.
        """
        self._training, self._tools, self._beat, self._promote = training, tools, beat, promote
        self._place = Place(tools.settings.training, training.id)

    def carry_out(self) -> Ending:
        """Do every step that is not done yet.

        Raises:
            TrainingFailedError: with the reason.
            ModelError: a version cannot be read, published or promoted.
            DatabaseError: it cannot be read now; begin anew later.
            OSError: a file cannot be written.
        """
        self._place.folder.mkdir(parents=True, exist_ok=True)
        if self._tools.models.versions.current().version == self._training.version_name:
            return self._promoted()  # the service ended just after
        if not self._place.own.exists():
            self._collect()
        if not (self._place.model / MANIFEST).exists():
            self._train()
        verdict, champion = self._judged()
        if not verdict["promoted"]:
            return Ending("refused", {"reason": _reasons(verdict), "verdict": verdict, "version": self._made()})
        return self._publish(champion, verdict)

    def _collect(self) -> None:
        """Write the labelled statements to a file, once: a run that goes on must go on with the same."""
        self._beat({"phase": "collecting"})
        unfinished = self._place.own.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as stream:
            for statement in self._tools.store.export(Filters()):
                stream.write(json.dumps(export_line(statement), ensure_ascii=False) + "\n")
        unfinished.replace(self._place.own)

    def _train(self) -> None:
        models, place = self._tools.models, self._place
        folder = models.folder()
        if self._training.kind == "quick":
            # Judged in the same process: another one would take seconds to begin, and to read all of it again.
            command = ["quick", "--model", str(folder), "--cache", self._cache(), "--verdict", str(place.verdict)]
        else:
            command = ["fit", "--labels", *read_manifest(folder).labels]
            # In one word each: a value that begins with a dash is no option.
            command += [f"--{name.replace('_', '-')}={value}" for name, value in self._training.options.items()]
        command += [*self._statements(), "--out", str(place.model), "--version", self._training.version_name]
        self._beat({"phase": "starting"})
        code, child = self._call([*command, "--progress", str(place.progress)], self._last_progress)
        if code != 0:
            raise TrainingFailedError(f"training failed: {child.why(code)}")

    def _judged(self) -> tuple[dict[str, Any], Pointer]:
        """Return the gate's verdict, and the pointer that still names the champion that it was judged against."""
        versions = self._tools.models.versions
        for _ in range(_MAX_CHAMPIONS):
            champion = versions.current()
            verdict = self._known_verdict() or self._judge()
            if versions.current() == champion:
                return verdict, champion
        raise TrainingFailedError(
            f"another version was promoted while the gate judged this one, {_MAX_CHAMPIONS} times."
        )

    def _judge(self) -> dict[str, Any]:
        self._beat(phase := {"phase": "judging"})
        folder = self._tools.models.folder()
        command = ["gate", str(self._place.model), "--champion", str(folder), *self._statements(), "--json"]
        if self._training.kind == "quick":  # the encoder is the same, and so are the features; of others they are new
            command += ["--cache", self._cache()]
        code, child = self._call(command, lambda: phase, self._place.verdict)
        try:
            return self._verdict()
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingFailedError(f"the gate came to no verdict: {child.why(code)}") from error

    def _known_verdict(self) -> dict[str, Any] | None:
        """Return the verdict that there is already on this version, against the one that serves."""
        try:
            verdict = self._verdict()
            pair = verdict["challenger"], verdict["champion"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return verdict if pair == (self._made(), read_manifest(self._tools.models.folder()).version) else None

    def _verdict(self) -> dict[str, Any]:
        verdict: dict[str, Any] = json.loads(self._place.verdict.read_bytes())
        _reasons(verdict)
        return verdict

    def _publish(self, champion: Pointer, verdict: dict[str, Any]) -> Ending:
        versions, version = self._tools.models.versions, self._made()
        if version not in versions.names():
            versions.publish(self._place.model)
        if self._training.promote == "manual":
            return Ending("finished", {"verdict": verdict, "version": version})
        self._beat({"phase": PROMOTING}, must=True)
        if versions.current() != champion:
            raise TrainingFailedError("another version was promoted just now; ask for the training anew.")
        self._promote(version, self._training.asked_by)
        return self._promoted()

    def _promoted(self) -> Ending:
        verdict = json.loads(self._place.verdict.read_bytes()) if self._place.verdict.exists() else None
        return Ending("promoted", {"verdict": verdict, "version": self._training.version_name})

    def _made(self) -> str:
        return read_manifest(self._place.model).version

    def _cache(self) -> str:
        return str(Path(self._tools.settings.training) / "cache")

    def _statements(self) -> list[str]:
        settings = self._tools.settings
        words = ["--data", settings.corpus]
        words += ["--splits", settings.splits] if settings.splits else []
        return words + (["--own", str(self._place.own)] if self._place.own.stat().st_size else [])

    def _call(
        self, words: Sequence[str], progress: Callable[[], dict[str, Any] | None], out: Path | None = None
    ) -> tuple[int, Child]:
        child = Child([*self._tools.command, *words], self._place.log, out)
        try:
            while (code := child.code(_POLL_S)) is None:
                self._beat(progress())
        finally:
            child.stop(_GRACE_S)
        return code, child

    def _last_progress(self) -> dict[str, Any] | None:
        """Return the last whole line of how far the training is; None before there is one."""
        try:
            with self._place.progress.open("rb") as stream:
                stream.seek(max(0, stream.seek(0, 2) - _LAST_LINE_BYTES))
                lines = stream.read().split(b"\n")
            found = json.loads(lines[-2])  # the last one is still being written, or empty
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def _reasons(verdict: dict[str, Any]) -> str:
    """Return which checks failed, with what was found and what was asked for."""
    failed = [each for each in verdict["checks"] if not each["passed"]]
    if not isinstance(verdict["promoted"], bool):
        raise TypeError("promoted")
    return "; ".join(f"{each['name']}: {each['reason']} (asked for: {each['limit']})" for each in failed)
