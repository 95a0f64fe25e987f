"""The rules of params.yaml that span several keys. Each returns the first problem as one line, or None."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from worldwidth import tasks
from worldwidth.core.errors import nearest
from worldwidth.settings.compute import training_steps
from worldwidth.settings.paths import CITIES, CORPORA, CURVES, MODELS, PARTIAL, PLOTS, TIMINGS
from worldwidth.settings.schema import Scale, Settings
from worldwidth.settings.strict_yaml import excerpt

_LIST_FILE = re.compile(r"(?=.{1,200}$)([A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.(csv|tsv|txt)")
_OUTS = (Path("data/checked.txt"), CITIES, CORPORA, MODELS, CURVES.parent, PLOTS, PARTIAL, TIMINGS)
_WRITTEN = tuple(f"{path.as_posix()}/" for path in _OUTS)


def broken_rule(settings: Settings) -> str | None:
    """Return the first broken rule, said for a person; None when the settings are sound."""
    return next(_problems(settings), None)


def _problems(settings: Settings) -> Iterator[str]:
    yield from _task_problems(settings)
    yield from _unknown("scale", settings.scale, settings.scales)
    yield from _unknown("arch", settings.arch, settings.selected.archs)
    yield from _unknown("reference", settings.reference, settings.selected.archs)
    scales = {settings.scale: settings.selected, **settings.scales}  # the selected one first
    for name, scale in scales.items():
        yield from _scale_problems(settings, name, scale)
    yield from _warmup_problems(settings)
    for name, scale in scales.items():
        for arch in scale.archs:  # a budget's steps are only a problem where they are used
            yield from _warmup_problems(replace(settings, scale=name, arch=arch, budget="epochs"))


def _unknown(path: str, found: str, allowed: Iterable[str]) -> Iterator[str]:
    names = list(allowed)
    if found not in names:
        yield f"{path}: found '{excerpt(found)}'; allowed: {', '.join(names)}{nearest(found, names)}"


def _task_problems(settings: Settings) -> Iterator[str]:
    for i, task in enumerate(settings.tasks):
        yield from _unknown(f"tasks.{i}", task, tasks.available())
        if task in settings.tasks[:i]:
            yield f"tasks.{i}: '{task}' is listed twice; each task may be listed once"
    for name, trained in settings.finetunes.items():
        path = f"finetunes.{name}"
        for task in trained:
            yield from _unknown(path, task, settings.tasks)
        if len(set(trained)) != len(trained):
            yield f"{path}: found {list(trained)}; each task may be listed once"
        count = name.removeprefix("ftwb").split("-")[0]
        if int(count) != len(trained):
            yield f"{path}: trains {len(trained)} task(s); the number after 'ftwb' must say so: ftwb{len(trained)}-..."
    twins: dict[frozenset[str], str] = {}
    for name, trained in settings.finetunes.items():
        twin = twins.setdefault(frozenset(trained), name)
        if twin != name:
            yield f"finetunes.{name}: trains the same tasks as {twin}; keep one of them"


def _scale_problems(settings: Settings, name: str, scale: Scale) -> Iterator[str]:
    path, world, corpus = f"scales.{name}", scale.world, scale.corpus
    total, ids = world.cities + world.atlantis.cities, 10**world.id_digits
    if total > ids:
        yield (
            f"{path}.world.id_digits: {world.id_digits} digits give {ids} ids for {total} cities "
            "(cities + atlantis.cities); allowed: more digits or fewer cities"
        )
    yield from _source_problems(f"{path}.world.source", world.source)
    most = world.cities // 2
    for key, (low, high), least in (("hull_cities", corpus.hull_cities, 3), ("tour_cities", corpus.tour_cities, 2)):
        if not least <= low <= high <= most:
            yield (
                f"{path}.corpus.{key}: found [{low}, {high}]; it must be [fewest, most], "
                f"fewest at least {least}, most at most {most} (half of world.cities)"
            )
    finetuning = scale.finetuning
    for key, found, limit_key, limit in (
        ("finetuning.world_lines", finetuning.world_lines, "corpus.world.train", corpus.world.train),
        ("finetuning.atlantis_lines", finetuning.atlantis_lines, "corpus.atlantis.train", corpus.atlantis.train),
        ("finetuning.warmup_lines", finetuning.warmup_lines, "corpus.atlantis.train", corpus.atlantis.train),
        (
            "evaluation.multitask_lines",
            scale.evaluation.multitask_lines,
            "corpus.world.test times tasks",
            corpus.world.test * len(settings.tasks),
        ),
    ):
        if found > limit:
            yield f"{path}.{key}: found {found}; at most {limit} ({limit_key})"
    for key, arch in scale.archs.items():
        width, heads = arch.hidden_size, arch.num_attention_heads
        if width % (2 * heads):
            yield (
                f"{path}.archs.{key}.num_attention_heads: found {heads}; hidden_size {width} must be a multiple of "
                "twice the heads (rotary embeddings turn pairs of channels)"
            )


def _source_problems(path: str, source: str) -> Iterator[str]:
    """It is written into dvc.yaml and copied between work trees: it must stay in the project's folder."""
    if source != "geonames" and not _LIST_FILE.fullmatch(source):
        yield (
            f"{path}: found '{excerpt(source)}'; allowed: geonames, or a .csv, .tsv or .txt file below the project's "
            "folder, of letters a to z, digits, _ - . and / only, no part beginning with . or -"
            f"{nearest(source, ['geonames'])}"
        )
    if f"{source.lower()}/".startswith(_WRITTEN):  # small letters: some disks know no others
        yield f"{path}: found '{excerpt(source)}'; the pipeline writes there itself: keep your own list elsewhere"


def _warmup_problems(settings: Settings) -> Iterator[str]:
    path = f"scales.{settings.scale}"
    for part, optimization, models in (
        ("pretraining", settings.selected.pretraining, ("base",)),
        ("finetuning", settings.selected.finetuning, tuple(settings.finetunes)),
    ):
        for name in models:
            steps = training_steps(settings, name)
            if optimization.warmup_steps >= steps:
                yield (
                    f"{path}.{part}.warmup_steps: found {optimization.warmup_steps}; "
                    f"it must be under the {steps} steps of {name} with arch {settings.arch}"
                )
