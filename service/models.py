"""Which model should answer: loading, warming up, promoting. One that fails is never handed out.

Knows the place of the versions and the shipped models; knows nothing of HTTP. Its methods take as long as files and
networks do: never call them from the event loop.
"""

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from model.artifact import RELEASED, Manifest, locate_model, read_manifest, released_names
from model.classifier import Classifier, Prediction
from model.errors import ArtifactError, ModelError, PromotionError, StorageError, UnknownVersionError
from model.versions import Pointer, Versions
from service.serving import Loaded
from service.settings import Settings

__all__ = ["Load", "Models"]

_log = structlog.get_logger(__name__)

_WARM_UP = ["Any aircraft that enters our airspace armed will be shot down.", "Both sides should return to the table."]

Load = Callable[[Path, int], Classifier]
"""From a folder and the threads of the engine to a model; raises `ArtifactError`."""


class Models:
    """The models that one application may answer with.

    Attributes:
        versions: that were published.
        failures: why a version did not load or did not answer, by its name; one that does is taken out.
    """

    def __init__(self, settings: Settings, default: Classifier | None = None, load: Load = Classifier.load) -> None:
        """Load nothing yet.

        Args:
            settings: name the place of the versions, and the model that serves where nothing is promoted.
            default: that model, in place of the one that the settings name.
            load: in place of the loader.

        Raises:
            StorageError: nothing that is installed reaches the place of the versions.
        """
        self.versions = Versions(settings.models, settings.models_cache)
        self.failures: dict[str, str] = {}
        self._settings = settings
        self._default = default
        self._load = load
        self._refused: Pointer | None = None
        self._first: Loaded | None = None
        self._promoted: Loaded | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def default_name(self) -> str | None:
        """The version of the model that serves where nothing is promoted; None where its folder is none."""
        if self._default is not None:
            return self._default.manifest.version
        try:
            return read_manifest(locate_model(self._settings.model)).version
        except ArtifactError:
            return None

    def name_of(self, version: str | None) -> str | None:
        """Return the version's name of what the pointer names."""
        return self.default_name if version is None else version

    def folder(self) -> Path:
        """Return the folder of the model that should answer; raises `ModelError` where it is not what it should be."""
        version = self.versions.current().version
        return locate_model(self._settings.model) if version is None else self.versions.folder(version)

    def shipped(self) -> dict[str, Path]:
        """Return the folders of the models that need no publishing, by their versions."""
        folders = [RELEASED / name for name in released_names()]
        if self._default is None and (named := Path(self._settings.model)).is_dir():
            folders.append(named)
        found = {}
        for folder in folders:
            with suppress(ArtifactError):  # what the settings name need not be whole while another version serves
                found[read_manifest(folder).version] = folder
        return found

    def shipped_manifest(self, version: str) -> Manifest | None:
        """Return what a shipped model is; None where there is none of that version."""
        if self._default is not None and self._default.manifest.version == version:
            return self._default.manifest
        folder = self.shipped().get(version)
        return None if folder is None else read_manifest(folder)

    def load_first(self) -> None:
        """Load what the service shall begin with; see `first`."""
        self._first = self._first_that_answers()

    def first(self) -> Loaded:
        """Return the promoted version; where it does not answer the one before, and at last the shipped model.

        Raises:
            ArtifactError: not even that one answers.
        """
        first, self._first = self._first or self._first_that_answers(), None
        return first

    def _first_that_answers(self) -> Loaded:
        try:
            line = self.versions.current().line
        except ModelError as error:
            _log.error("begins with the shipped model", reason=str(error))
            line = [None]
        for version in reversed(line[1:]):
            try:
                return self.prepare(version)
            except ModelError as error:
                _log.error("begins with an earlier model", refused=version, reason=str(error))
        return self.prepare(None)

    def prepare(self, version: str | None) -> Loaded:
        """Load a version and let it answer.

        Raises:
            UnknownVersionError: there is none of that name.
            ArtifactError: it cannot be loaded, or its answers are none.
        """
        try:
            loaded = Loaded(version, self._loaded(version))
            _warm_up(loaded.classifier)
        except ArtifactError as error:
            self.failures[self.name_of(version) or self._settings.model] = str(error)
            raise
        self.failures.pop(loaded.classifier.manifest.version, None)
        return loaded

    def _loaded(self, version: str | None) -> Classifier:
        if version is not None:
            return self._load(self.versions.folder(version), self._settings.engine_threads)
        return self._default or self._load(locate_model(self._settings.model), self._settings.engine_threads)

    def newer(self, served: str | None) -> Loaded | None:
        """Return the promoted version where it is another than `served`; a version that failed is not tried again.

        Raises:
            ModelError: it does not answer, or nobody knows which it is.
        """
        pointer = self.versions.current()
        if served is not None and not pointer.history:
            # A folder that was unmounted looks like one that was never promoted to.
            raise StorageError("the pointer is gone, and what serves goes on serving; restore it, or start anew.")
        if pointer.version == served or pointer == self._refused:
            return None
        promoted, self._promoted = self._promoted, None
        if promoted is not None and promoted.version == pointer.version:
            return promoted
        try:
            return self.prepare(pointer.version)
        except (ArtifactError, UnknownVersionError) as error:
            self._refused = pointer
            self.failures[self.name_of(pointer.version) or self._settings.model] = str(error)
            raise

    def promote(self, version: str, who: str) -> Pointer:
        """Let a version serve, after it has answered here; a shipped one is published first.

        Raises:
            UnknownVersionError: there is none of that name.
            ArtifactError: it does not answer; the pointer stays where it was.
            PromotionError: it serves already.
        """
        with self._one_at_a_time:  # two models at once in memory, not one for each who asks
            if self.name_of(self.versions.current().version) == version:
                raise PromotionError(f"{version} serves already.")
            if version not in self.versions.names() and (folder := self.shipped().get(version)):
                self.versions.publish(folder)
            return self._move(self.prepare(version), lambda: self.versions.promote(version, who))

    def rollback(self, who: str) -> Pointer:
        """Let serve again what served before, after it has answered here.

        Raises:
            PromotionError: nothing is promoted.
            UnknownVersionError: what served before is not there any more.
            ArtifactError: it does not answer; the pointer stays where it was.
        """
        with self._one_at_a_time:
            seen = self.versions.current()
            return self._move(self.prepare(seen.previous), lambda: self.versions.rollback(who, seen))

    def _move(self, loaded: Loaded, move: Callable[[], Pointer]) -> Pointer:
        self._promoted = loaded  # before the pointer: whoever follows it in that moment need not load it again
        try:
            return move()
        except ModelError:
            self._promoted = None
            raise


def _warm_up(classifier: Classifier) -> None:
    """Raise `ArtifactError` where a model does not answer plain statements with probabilities."""
    version = classifier.manifest.version
    try:
        answers = classifier.classify(_WARM_UP)
    except Exception as error:  # whatever it is: a model that raises it must not serve
        raise ArtifactError(f"version {version} was loaded but does not answer: {error}") from error
    for answer in answers:
        if not isinstance(answer, Prediction) or not all(map(math.isfinite, answer.probabilities.values())):
            raise ArtifactError(f"version {version} was loaded but does not answer a plain statement: {answer}")
