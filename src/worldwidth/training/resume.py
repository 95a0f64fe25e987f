"""Nothing lost inside training: the state of every run under way, saved so that a killed one goes on where it was.

DVC deletes a stage's outs before it runs, so a state cannot be one of them. It lies in the scratch folder, in a
folder named by the model and by a hash of everything the run depends on, until the run's files are published.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import replacing, sha256
from worldwidth.core.imports import code_closure
from worldwidth.core.locks import one_after_another
from worldwidth.core.signals import Stopped, StopRequest
from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.model.safe_tensors import Arrays, array_digest, load_tensors, save_tensors
from worldwidth.settings.paths import scratch_folder
from worldwidth.training.engines import Engine
from worldwidth.training.run import CurvePoint, Run, State, Training

STATE = "state.safetensors"
LOCK = "lock"
VALUES = "run"  # the key of the state's metadata under which all but the tensors is, as JSON
_DIGEST = "sha256"  # and that of its digest

_COST = 0.01  # saving may take this share of the time
_ROOT = Path(__file__).parents[3]


def states_folder() -> Path:
    """Where all states lie, those of temporary and queued experiments as well."""
    return scratch_folder() / "resume"


def identity(config: DecoderConfig, weights: Weights, run: Run) -> dict[str, str]:
    """What a run depends on, part by part, as hashes; ``weights`` are not trained yet.

    What computes it is no part of it: a run may go on elsewhere, natively or in torch, where the last bits of its
    numbers differ.
    """
    settings = (run.name, run.steps, run.seed, config, run.optimization, run.width_ratio, run.new_rows)
    code = code_closure(Path(__file__).with_name("loop.py").relative_to(_ROOT), _ROOT)
    return {
        "settings": _digest(repr((*settings, run.compute.device, run.compute.bfloat16))),
        "starting weights": array_digest(weights),
        "training lines": run.mixture.digest,
        "validation lines": run.validation.digest,
        "code": _digest("".join(sha256(_ROOT / path) for path in code)),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digests(arrays: Arrays) -> dict[str, str]:
    return {name: array_digest(array) for name, array in arrays.items()}


class SavedRun:
    """The saved state of one run and the checkpoints it has written, held for this process alone inside a ``with``."""

    def __init__(self, config: DecoderConfig, weights: Weights, run: Run) -> None:
        self._run, self._identity = run, identity(config, weights, run)
        self.folder = states_folder() / f"{run.name}-{_digest(json.dumps(self._identity))[:12]}"
        self.checkpoints = self.folder / "steps"
        self.step: int | None = None
        """The step after which the run is saved; None before that."""
        self.seconds = 0.0
        """How long it had taken then."""
        self._digests: dict[str, str] = {}
        """Of the files of checkpoints."""
        self._arrays: dict[str, str] = {}
        """Of what the state was saved with."""
        self._held = ExitStack()

    def __enter__(self) -> "SavedRun":
        message = f"{self._run.name}: another process is training the same model: waiting for it"
        self._held.enter_context(one_after_another(self.folder / LOCK, message))
        return self

    def __exit__(self, *error: object) -> None:
        if self.step is None:  # nothing to come back to
            self.remove()
        self._held.close()

    def load(self) -> State | None:
        """The state to go on from; None when there is none, or, with a line that says why, none that can be used."""
        path = self.folder / STATE
        try:
            tensors, metadata = load_tensors(path)
            if metadata[_DIGEST] != _digest(metadata[VALUES]):
                raise ValueError("its content does not have the SHA-256 it was written with")
            values = json.loads(metadata[VALUES])
            if values["arrays"] != _digests(tensors):
                raise ValueError("its content does not have the SHA-256 it was written with")
            self._check(values)
            state = State(values["step"], values["tokens"], [CurvePoint(**row) for row in values["curve"]], tensors)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if not isinstance(error, FileNotFoundError):
                print(f"worldwidth: {path}: not used, for {error}; {self._run.name} starts afresh", file=sys.stderr)
            path.unlink(missing_ok=True)
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            return None
        self.step, self.seconds = state.step, values["seconds"]
        self._digests, self._arrays = values["checkpoints"], values["arrays"]
        print(f"{self._run.name}: goes on after step {state.step:,} of {self._run.steps:,}", flush=True)
        return state

    def _check(self, values: dict[str, Any]) -> None:
        """Raises: ValueError: the state is of another run, or a checkpoint beside it is not what it was."""
        saved: dict[str, str] = values["identity"]
        differing = [part for part, found in self._identity.items() if saved.get(part) != found]
        if differing:
            raise ValueError(f"it was saved by a run with other {', '.join(differing)}")
        for name, found in values["checkpoints"].items():
            path = self.checkpoints / name
            if not path.is_file() or sha256(path) != found:
                raise ValueError(f"the checkpoint file {path} is missing or damaged")

    def check_restored(self, training: Training) -> None:
        """Compare with what was saved, bit by bit, where ``training`` stands after that step.

        Raises:
            WorldwidthError: weights, moments, losses or gradient norms are others.
        """
        if training.step == self.step:
            found = _digests(training.state().arrays)
            if differing := [name for name, digest in self._arrays.items() if found[name] != digest]:
                hashes = "; ".join(f"{name} {self._arrays[name][:12]}, found {found[name][:12]}" for name in differing)
                where = f"{self._run.name}: goes on after step {self.step:,} with other arrays than were saved"
                raise WorldwidthError(f"{where}, expected SHA-256 of {hashes}; state: {self.folder / STATE}")

    def add_checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Let ``write`` fill the folder of the checkpoint at ``step``."""
        folder = self.checkpoints / str(step)
        write(folder)
        for path in sorted(folder.iterdir()):
            self._digests[path.relative_to(self.checkpoints).as_posix()] = sha256(path)
            _to_disk(path)
        _to_disk(folder)

    def save(self, training: Training, seconds: float) -> None:
        """Write the state ``seconds`` after the start; whatever happens meanwhile, this one or the last is there.

        Raises:
            OSError: it could not be written.
        """
        state = training.state()
        values: dict[str, Any] = {
            "name": self._run.name,
            "step": state.step,
            "steps": self._run.steps,
            "tokens": state.tokens,
            "seconds": self.seconds + seconds,
            "identity": self._identity,
            "curve": [asdict(point) for point in state.curve],
            "checkpoints": self._digests,
            "arrays": _digests(state.arrays),
        }
        path, text = self.folder / STATE, json.dumps(values)
        with replacing(path) as temporary:
            save_tensors(state.arrays, temporary, {VALUES: text, _DIGEST: _digest(text)})
            _to_disk(temporary)
        _to_disk(self.folder)
        self.step, self._arrays = state.step, values["arrays"]

    def publish_checkpoints(self, folder: Path) -> None:
        """Put the checkpoints into ``folder``; they stay here, too, until :meth:`remove`."""
        if self.checkpoints.is_dir():
            shutil.copytree(self.checkpoints, folder, copy_function=_link)

    def remove(self) -> None:
        """Forget the run: its files are published, or it has failed for good."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Saving:
    """Saves the states of runs that are trained together: now and then, and when the process is asked to stop.

    Inside its ``with`` a request to stop waits for the end of the step.
    """

    def __init__(self, saved_runs: dict[str, SavedRun], seconds: float) -> None:
        """``saved_runs`` by name; ``seconds`` between two savings, or more where a saving takes long."""
        self._saved_runs, self._seconds = saved_runs, seconds
        self._request = StopRequest()
        self._started = self._last = time.monotonic()
        self._took = 0.0
        self._failed = False

    @property
    def elapsed(self) -> float:
        """Seconds since the start in this process."""
        return time.monotonic() - self._started

    def __enter__(self) -> "Saving":
        self._request.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._request.__exit__(*error)

    def check_restored(self, trainings: list[Training], engine: Engine) -> None:
        """What ``engine`` is about to go on with is what was saved, where it goes on from there.

        Raises:
            WorldwidthError: it is not.
        """
        engine.fetch_weights()
        for training in trainings:
            self._saved_runs[training.run.name].check_restored(training)

    def after_step(self, trainings: list[Training], engine: Engine) -> None:
        """Save if it is time.

        Raises:
            Stopped: the process was asked to stop; all that can be saved is.
        """
        code = self._request.code
        if code or time.monotonic() - self._last >= max(self._seconds, self._took / _COST):
            engine.fetch_losses()
            engine.fetch_weights()
            self._save([training for training in trainings if not training.error])
        if code:
            raise Stopped(code, "; ".join(self._left(training.run) for training in trainings))

    def _save(self, trainings: list[Training]) -> None:
        began = time.monotonic()
        try:
            for training in trainings:
                self._saved_runs[training.run.name].save(training, self.elapsed)
        except OSError as error:  # training goes on: the state is there for its sake
            if not self._failed:
                reason = f"{error.filename or 'the state'}: {error.strerror}"
                print(f"worldwidth: {reason}; training goes on without saving its state", file=sys.stderr)
            self._failed = True
        self._last = time.monotonic()
        self._took = self._last - began

    def _left(self, run: Run) -> str:
        step = self._saved_runs[run.name].step
        return f"{run.name} is saved after step {step:,} of {run.steps:,}" if step else f"{run.name} is not saved"


def _to_disk(path: Path) -> None:
    """Return once a file, or the names in a folder, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(source: str, destination: str) -> None:
    """One file under two names where the file system can, else a copy."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)
