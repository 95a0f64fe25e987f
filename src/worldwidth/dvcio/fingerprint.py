"""Is it the same run? What stages of a dvc.lock ran with, what they would run with in this tree, and the difference."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.lockfile import CODE, LOCK, Record, md5, read_lock, value_at
from worldwidth.pipeline.stages import row_of, stage_names
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
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
