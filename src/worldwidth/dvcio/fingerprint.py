"""Is it the same run? The one place that answers, for what is skipped, saved and compared, and for dvc.lock.

Two studies are the same when the stages that make their numbers ran under the same conditions: code, corpora, and what
the settings come to for their arch. How params.yaml says it, and what no such stage reads, is none of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.experiments import Experiment
from worldwidth.dvcio.lockfile import CODE, LOCK, Record, md5, read_lock, stages_of_yaml, value_at
from worldwidth.pipeline.stages import row_of, stage_names
from worldwidth.settings.compute import finetuning_recipe, plug_in_recipe, pretraining_recipe
from worldwidth.settings.paths import ATLANTIS_CORPORA, CORPORA, PARAMS
from worldwidth.settings.recipe import FinetuningRecipe
from worldwidth.settings.schema import Settings, is_plug_in
from worldwidth.settings.strict_yaml import read_yaml

Fingerprint = dict[str, Any]
"""``code src/...`` -> hash, ``data data/corpora/...`` -> hash, ``params scales.laptop.world`` -> value."""


def current(lock: Mapping[str, Record], settings: Settings) -> dict[str, Record]:
    """The records of the stages that there are; DVC leaves those of former ones in dvc.lock."""
    return {name: lock[name] for name in stage_names(settings) if name in lock}


def ran_with(stages: Mapping[str, Record]) -> Fingerprint:
    """What stages ran with."""
    found: Fingerprint = {}
    for record in stages.values():
        for path, digest in record.deps.items():
            found[f"{'code' if path.split('/')[0] in CODE else 'data'} {path}"] = digest
        found |= {f"params {key}": value for key, value in record.params.items()}
    return found


def conditions(lock: Mapping[str, Record], settings: Settings) -> Fingerprint:
    """What the numbers of a finished study come from.

    Args:
        lock: its dvc.lock.
        settings: its params.yaml.
    """
    numbers = {name: record for name, record in current(lock, settings).items() if makes_numbers(name)}
    ran = ran_with(numbers)
    source = f"data {settings.selected.world.source}"
    found = {entry: ran[entry] for entry in ran if entry.startswith("code ") or entry == source or _is_corpus(entry)}
    return {f"params {key}": value for key, value in resolved(settings).items()} | found


def conditions_here(lock: Mapping[str, Record], settings: Settings) -> Fingerprint:
    """What those of a study of ``settings`` would be in this tree; its corpora are taken to be those of ``lock``."""
    paths = {
        path
        for name, stage in stages_of_yaml().items()
        if makes_numbers(name) and name in stage_names(settings)
        for path in stage["deps"]
    }
    source = settings.selected.world.source
    own_list = {f"data {source}": md5(Path(source))} if Path(source).is_file() else {}
    code = {f"code {path}": md5(Path(path)) for path in sorted(paths) if path.split("/")[0] in CODE}
    corpora = {entry: digest for entry, digest in ran_with(current(lock, settings)).items() if _is_corpus(entry)}
    return {f"params {key}": value for key, value in resolved(settings).items()} | code | own_list | corpora


def makes_numbers(stage: str) -> bool:
    """Whether a stage's outs are numbers that no other stage says already: not those of plans, tables and figures."""
    row = row_of(stage)
    return not row.in_git and not row.contents


def _is_corpus(entry: str) -> bool:
    return f"{entry}/".startswith((f"data {CORPORA.as_posix()}/", f"data {ATLANTIS_CORPORA.as_posix()}/"))


def resolved(settings: Settings) -> dict[str, Any]:
    """What the settings come to for the selected arch, as plain values."""
    scale, before = settings.selected, pretraining_recipe(settings)
    model = asdict(scale.model)
    del model["num_hidden_layers"]  # the arch's may be its own: it is in the sizes
    return {
        "scale": settings.scale,
        "seed": settings.seed,
        "tasks": list(settings.tasks),
        "finetunes": {name: list(tasks) for name, tasks in settings.finetunes.items()},
        "world": asdict(scale.world),
        "corpus": asdict(scale.corpus),
        "model": model,
        "sizes": asdict(before.sizes),
        "pretraining": {**asdict(before.optimization), "steps": before.steps, "width_ratio": before.width_ratio},
        "finetuning": _plain(finetuning_recipe(settings)),
        "plug_in": _plain(plug_in_recipe(settings)) if any(map(is_plug_in, settings.finetunes)) else {},
        "evaluation": asdict(scale.evaluation),
        "hardware": asdict(scale.hardware),
    }


def _plain(recipe: FinetuningRecipe) -> dict[str, Any]:
    values = asdict(recipe)
    return {**values.pop("optimization"), **values}


def difference_from_here(experiment: Experiment, settings: Settings) -> str:
    """How an experiment is not what this tree would give with ``settings``, as "ran with ..."; empty if it is that."""
    try:
        own, lock = experiment.settings, experiment.lock
    except WorldwidthError as error:
        return f"cannot be read ({error})"
    lacking = [name for name in stage_names(own) if makes_numbers(name) and name not in lock]
    if lacking:
        return f"lacks stage {lacking[0]}"
    difference = first_difference(conditions(lock, own), conditions_here(lock, settings))
    return f"ran with {difference}" if difference else ""


def would_run_with(fingerprint: Fingerprint, lock: Mapping[str, Record], params: dict[str, Any]) -> Fingerprint:
    """The same entries, as stages would find them now: files in this tree, outs of other stages as ``lock`` has them.

    Args:
        params: params.yaml as plain values.
    """
    outs = {path: digest for record in lock.values() for path, digest in record.outs.items()}
    found: Fingerprint = {}
    for entry in fingerprint:
        kind, name = entry.split(" ", 1)
        if kind == "params":
            found[entry] = value_at(params, name)
        else:
            found[entry] = outs[name] if name in outs else md5(Path(name))
    return found


def first_difference(one: Fingerprint, other: Fingerprint) -> str:
    """What ``one`` has that ``other`` does not, for people, as "another src/..."; empty if they are the same."""
    return next(_differences(one, other), "")


def _differences(one: Fingerprint, other: Fingerprint) -> Iterator[str]:
    for entry in dict.fromkeys([*one, *other]):
        kind, name = entry.split(" ", 1)
        if kind == "params":
            yield from _unequal(one.get(entry), other.get(entry), name)
        elif one.get(entry) != other.get(entry):
            yield f"another {name}"


def _unequal(one: Any, other: Any, key: str) -> Iterator[str]:
    """The values that differ, below ``key``."""
    if isinstance(one, dict) and isinstance(other, dict):
        for part in dict.fromkeys([*one, *other]):
            yield from _unequal(one.get(part), other.get(part), f"{key}.{part}")
    elif one != other:
        yield f"{key} {one!r} in place of {other!r}"


def check_lock(settings: Settings) -> None:
    """Compare dvc.lock with the tree: its code, its params and its committed results.

    A clone has no models and no corpora, so `dvc status` cannot tell there; this can.

    Raises:
        WorldwidthError: dvc.lock was written by other code, params or results; the first difference is named.
    """
    if not LOCK.is_file():
        raise WorldwidthError(f"{LOCK}: not found; run `dvc repro`")
    try:
        lock = read_lock()
    except WorldwidthError as error:
        raise WorldwidthError(f"{error}; `worldwidth doctor` says how to bring it back") from None
    problem = next(_problems(settings, lock, read_yaml(PARAMS)), None)
    if problem:
        raise WorldwidthError(f"{LOCK}: {problem}; run `dvc repro` and commit what comes out")
    if former := former_stages(lock, settings):
        text = f"{former[0]} is no stage of dvc.yaml any more"
        raise WorldwidthError(f"{LOCK}: {text}; run `make render`, which drops its entry, and commit {LOCK}")


def former_stages(lock: Mapping[str, Record], settings: Settings) -> list[str]:
    """The stages of a dvc.lock that there are no more."""
    return sorted(lock.keys() - set(stage_names(settings)))


def _problems(settings: Settings, lock: dict[str, Record], params: dict[str, Any]) -> Iterator[str]:
    records = current(lock, settings)
    for name in stage_names(settings):
        if name not in records:
            yield f"stage {name} has never run"
            continue
        ran = ran_with({name: records[name]})
        difference = first_difference(ran, would_run_with(ran, records, params))
        if difference:
            yield f"stage {name} ran with {difference}"
        if row_of(name).in_git:
            for path, digest in lock[name].outs.items():
                if md5(Path(path)) != digest:
                    yield f"{path} is not what stage {name} wrote"
