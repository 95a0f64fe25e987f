"""What DVC would do now, stage by stage, without doing it: up to date, from the run cache, or run, and why.

`dvc repro --dry` stops at the first stage whose inputs are not there and gives no reasons. Here the run
cache's answers take the place of the outputs of the stages before.
"""

import hashlib
from collections.abc import Collection, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import check_regular
from worldwidth.dvcio.hashes import files_below
from worldwidth.dvcio.lockfile import value_at
from worldwidth.dvcio.repo import ancestors, needs_of, open_repo
from worldwidth.pipeline.stages import row_of
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.strict_yaml import parse_yaml

UP_TO_DATE, CACHED, RUN, LATER = "up to date", "from the run cache", "will run", "after"
RUNS = "running"
"""Of a stage that a run is at: not DVC's word, which knows no more than that it has not run."""


@dataclass(frozen=True)
class Forecast:
    """What happens to one stage. ``reason`` is empty when nothing does."""

    stage: str
    state: str
    reason: str


@dataclass(frozen=True)
class Known:
    """The outputs of a stage, known before anything runs."""

    hashes: dict[str, Any]
    """By path."""
    entry: dict[str, Any] | None = None
    """Of DVC's run cache, in the form of dvc.lock; None where nothing has to be restored."""


def forecast(stages: Collection[str] | None = None) -> list[Forecast]:
    """Ask DVC about every stage, in the order in which they would run.

    Args:
        stages: about these alone, and all that they depend on.

    Raises:
        WorldwidthError: DVC cannot read the pipeline, or another DVC command is running.
    """
    with open_repo() as repo, repo.lock:
        names = None if stages is None else {*stages, *ancestors(stages, needs_of(repo))}
        return forecast_with_outs(repo, names)[0]


def still_to_do(answers: list[Forecast]) -> list[str]:
    """The stages whose outputs are not to be had from DVC's cache."""
    return [answer.stage for answer in answers if answer.state not in (UP_TO_DATE, CACHED)]


def forecast_stage(repo: Any, stage: Any) -> tuple[str, Known | None]:
    """What DVC would do with one stage now, given the files as they are, and its outputs if it need not run.

    ``repo`` must be locked.
    """
    _refuse_irregular(stage)
    state, _, known = _settled(repo, stage, {}, _own_changes(stage, {}))
    return state, known


def forecast_with_outs(repo: Any, names: Set[str] | None = None) -> tuple[list[Forecast], dict[str, Known]]:
    """The same, and the outputs of every stage that need not run.

    Args:
        repo: locked.
        names: of these stages only; with each all that it depends on. None for all.
    """
    produced: dict[str, Any] = {}  # path of an output -> its hash; None: not known before something has run
    owner: dict[str, str] = {}
    forecasts: list[Forecast] = []
    outs: dict[str, Known] = {}
    for stage in repo.index.stages:  # in the order of dvc.yaml, where no stage comes before its inputs
        name = stage.addressing
        if names is not None and name not in names:
            continue
        _refuse_irregular(stage)
        waiting = sorted({owner[dep.def_path] for dep in stage.deps if produced.get(dep.def_path, 0) is None})
        own = _own_changes(stage, produced)
        if waiting:
            state, reason, known = (RUN, own, None) if own else (LATER, ", ".join(waiting), None)
        else:
            state, reason, known = _settled(repo, stage, produced, own)
        forecasts.append(Forecast(name, state, reason))
        if known:
            outs[name] = known
        elif constant := row_of(name).constant:  # so that what follows is known before it ran
            known = _constant(stage, constant)
        for out in stage.outs:
            owner[out.def_path] = name
            produced[out.def_path] = known.hashes[out.def_path] if known else None
    return forecasts, outs


def _refuse_irregular(stage: Any) -> None:
    """DVC would wait for ever for what comes out of a FIFO that lies where a file belongs.

    Raises:
        WorldwidthError: the stage reads or writes something that is neither a file nor a folder.
    """
    for item in (*stage.deps, *stage.outs):
        path = Path(item.fs_path)
        try:
            for file in (path / name for name in files_below(path)) if path.is_dir() else (path,):
                check_regular(file)
        except OSError as error:
            raise WorldwidthError(
                f"{error.filename}: {error.strerror}; remove it: stage {stage.addressing} needs {item.def_path}"
            ) from None


def _recorded(stage: Any) -> Known:
    """The outputs as dvc.lock has them."""
    return Known({out.def_path: out.hash_info or None for out in stage.outs})


def _constant(stage: Any, text: str) -> Known:
    """The outputs of a stage that always writes ``text``. dvc.lock need not have them: a work tree has none."""
    from dvc_data.hashfile.hash_info import HashInfo

    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return Known({out.def_path: HashInfo("md5", digest) for out in stage.outs})


def _own_changes(stage: Any, produced: dict[str, Any]) -> str:
    """What differs from the stage's last run, inputs still to be made left out."""
    known = [dep for dep in stage.deps if produced.get(dep.def_path, 0) is not None]
    if not any(out.hash_info for out in stage.outs):
        return "never run"
    changed = ["the command"] if stage.changed_stage() else []
    changed += [_name(dep) for dep in known if _changes(dep, produced)]
    return ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")


def _settled(repo: Any, stage: Any, produced: dict[str, Any], own: str) -> tuple[str, str, Known | None]:
    """State, reason and outputs of a stage all of whose inputs are known."""
    recorded = _recorded(stage)
    if not own:
        gone = [out for out in stage.outs if out.status()]
        if not gone:
            return UP_TO_DATE, "", recorded
        own = f"missing or edited: {', '.join(out.def_path for out in gone[:2])}"
    cached = _cached(repo, stage, produced)
    return (CACHED, own, cached) if cached else (RUN, own, None)


def _name(dep: Any) -> str:
    """What changed, for people: the file, or the keys of params.yaml."""
    if hasattr(dep, "params"):
        keys = dep.status().get(dep.def_path, {})
        return "params " + ", ".join(keys if isinstance(keys, dict) else dep.params)
    return str(dep.def_path)


def _changes(dep: Any, produced: dict[str, Any]) -> bool:
    """Whether a dependency will differ from what the stage last ran with."""
    if dep.def_path in produced and not hasattr(dep, "params"):
        return bool(produced[dep.def_path] != dep.hash_info)
    return bool(dep.status())


def _cached(repo: Any, stage: Any, produced: dict[str, Any]) -> Known | None:
    """The outputs that the run cache holds for these inputs, all of them still in the cache; else None."""
    params = _parsed(PARAMS.read_text(encoding="utf-8"))
    from dvc.exceptions import DvcException
    from dvc.stage.cache import _can_hash
    from dvc_data.hashfile.meta import Meta

    try:
        for dep in stage.deps:
            if hasattr(dep, "params"):
                values = {key: value_at(params, key) for key in dep.params}
                if None in values.values():
                    return None
                dep.fill_values(values)
            elif dep.def_path in produced:
                dep.hash_info = produced[dep.def_path]
                dep.hash_name = dep.hash_info.name  # else that of DVC 2, where dvc.lock does not know the file
                dep.meta = Meta()  # size and the like are of the file that lies there now
            else:
                dep.save()  # in memory only: nothing here writes dvc.lock
            # DVC asks for it again and again, and the file itself may not be there yet
            dep.get_hash = lambda known=dep.hash_info: known
        if not _can_hash(stage):
            return None
        entry = repo.stage_cache._load(stage)
        if not entry:
            return None
        cached = repo.stage_cache._create_stage(entry, wdir=stage.wdir)
        return Known({out.def_path: out.hash_info for out in cached.outs}, entry) if cached.outs_cached() else None
    except (DvcException, FileNotFoundError):  # an input is missing: the stage would stop with DVC's own message
        return None


@lru_cache(maxsize=1)
def _parsed(text: str) -> Any:
    """params.yaml as plain values; DVC itself reads it anew for every stage."""
    return parse_yaml(text, str(PARAMS))
