"""The rules of params.yaml that span several keys. Each returns the first problem as one line, or None."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from worldwidth import tasks
from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.settings import paths
from worldwidth.settings.axes import ATLANTIS_SEED, check_axis, with_values
from worldwidth.settings.compute import training_steps
from worldwidth.settings.problems import describe
from worldwidth.settings.questions import Sweep
from worldwidth.settings.schema import DEFAULT, Finetuning, Scale, Settings, finetuned, is_plug_in
from worldwidth.settings.strict_yaml import excerpt

_LIST_FILE = re.compile(r"(?=.{1,200}$)([A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.(csv|tsv|txt)")
_OUTS = (
    *(Path("data/checked.txt"), paths.CITIES, paths.CORPORA, paths.ATLANTIS_CITIES, paths.ATLANTIS_CORPORA),
    *(
        paths.PRETRAINING,
        paths.FINETUNING,
        paths.PLUG_IN,
        paths.ADDED_CORPORA,
        paths.MODELS,
        paths.CURVES.parent,
        paths.PLOTS,
    ),
    *(paths.PARTIAL, paths.TIMINGS),
)
_WRITTEN = tuple(f"{path.as_posix()}/" for path in _OUTS)


_OF_EACH_ARCH_ALONE: dict[str, Any] = {
    "budget": "epochs", "finetuning_budget": "epochs", "parametrization": "standard", "recipe": DEFAULT
}  # fmt: skip
"""With these no other arch is asked for, such as ``reference``, which another scale need not have."""


def broken_rule(settings: Settings) -> str | None:
    """Return the first broken rule, said for a person; None when the settings are sound."""
    return next(_problems(settings), None)


def _problems(settings: Settings) -> Iterator[str]:
    yield from _task_problems(settings)
    yield from _unknown("scale", settings.scale, settings.scales)
    yield from _unknown("arch", settings.arch, settings.selected.archs)
    yield from _unknown("recipe", settings.recipe, [DEFAULT, *settings.selected.recipes])
    yield from _unknown("reference", settings.reference, settings.selected.archs)
    scales = {settings.scale: settings.selected, **settings.scales}  # the selected one first
    for name, scale in scales.items():
        yield from _override_problems(f"scales.{name}", scale)
    for name, scale in scales.items():
        yield from _scale_problems(settings, name, scale)
    yield from _warmup_problems(settings)
    for name, scale in scales.items():
        for arch in scale.archs:  # a budget's steps are only a problem where they are used
            plain = replace(settings, scale=name, arch=arch, **_OF_EACH_ARCH_ALONE)
            yield from _warmup_problems(plain)
    for name, sweep in settings.sweeps.items():
        yield from sweep_problems(settings, f"sweeps.{name}", sweep)
    if settings.analysis:
        try:
            check_axis(settings.analysis.by)
        except WorldwidthError as error:
            yield f"analysis.by: {error}"


def sweep_problems(settings: Settings, path: str, sweep: Sweep) -> Iterator[str]:
    """What is wrong with a sweep before its runs are made up: axes, single values, and fine-tunes.

    Args:
        path: what the sweep is called in a message.
    """
    if sweep.scale:
        if problem := next(_unknown(f"{path}.scale", sweep.scale, settings.scales), None):
            yield problem
            return
        settings = replace(settings, scale=sweep.scale)
    archs, recipes = list(settings.selected.archs), [DEFAULT, *settings.selected.recipes]
    names = {"arch": archs, "reference": archs, "recipe": recipes}
    for axis, values in sweep.vary.items():
        try:
            check_axis(axis)
            for value in values:
                if axis in names:
                    yield from _unknown(f"{path}.vary.{axis}", str(value), names[axis])
                with_values(settings, [(axis, value)])
        except WorldwidthError as error:
            yield f"{path}.vary: {error}"
    both = [axis for axis in ("seed", ATLANTIS_SEED) if axis in sweep.vary]
    if both and sweep.replicates > 1:
        yield (
            f"{path}.replicates: found {sweep.replicates} with {both[0]} in vary; a replicate raises seed and "
            f"{ATLANTIS_SEED} by itself: take one of them out"
        )
    yield from _only_problems(settings, path, sweep.only)


def _only_problems(settings: Settings, path: str, only: Sequence[str]) -> Iterator[str]:
    try:
        finetunes_named(settings, only)
    except WorldwidthError as error:
        yield f"{path}.{error}"


def finetunes_named(settings: Settings, only: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The fine-tunes that ``only`` names, each word a whole name or the start of some; all where it is empty.

    Raises:
        WorldwidthError: a word names none.
    """
    names = list(settings.finetunes)
    found: set[str] = set() if only else set(names)
    for word in only:
        meant = [word] if word in names else [name for name in names if word and name.startswith(word)]
        if not meant:
            raise WorldwidthError(
                f"only: found '{excerpt(word)}'; allowed: {', '.join(names)}, or the start of some"
                f"{nearest(word, names)}"
            )
        found.update(meant)
    return {name: tasks for name, tasks in settings.finetunes.items() if name in found}


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
        kind, count = name[:4], name[4:].split("-")[0]
        if int(count) != len(trained):
            right = f"{kind}{len(trained)}-..."
            yield f"{path}: trains {len(trained)} task(s); the number after '{kind}' must say so: {right}"
        if is_plug_in(name) and not trained:
            yield f"{path}: trains no task; a plug-in learns from one or more"
    twins: dict[tuple[bool, frozenset[str]], str] = {}
    for name, trained in settings.finetunes.items():
        twin = twins.setdefault((is_plug_in(name), frozenset(trained)), name)
        if twin != name:
            yield f"finetunes.{name}: trains the same tasks as {twin}; keep one of them"


def _override_problems(path: str, scale: Scale) -> Iterator[str]:
    """An arch may override a setting of training, with a value that it could have there."""
    for name, arch in scale.archs.items():
        parts = (
            ("pretraining", arch.pretraining, scale.pretraining_of),
            ("finetuning", arch.finetuning, scale.finetuning_of),
        )
        for part, overrides, resolved in parts:
            if overrides:
                try:
                    resolved(name)
                except ValidationError as error:
                    yield describe(error, f"{path}.archs.{name}.{part}", type(getattr(scale, part)))
    yield from _recipe_problems(path, scale)


def _recipe_problems(path: str, scale: Scale) -> Iterator[str]:
    """The same of recipes and of ``plug_in``."""
    first = next(iter(scale.archs))
    for name, recipe in scale.recipes.items():
        if name == DEFAULT:
            yield f"{path}.recipes.{name}: 'default' is the scale's own recipe; give it another name"
        for arch in recipe.learning_rates:
            yield from _unknown(f"{path}.recipes.{name}.learning_rates", arch, scale.archs)
        try:
            scale.finetuning_of(first, name)
        except ValidationError as error:
            yield describe(error, f"{path}.recipes.{name}.finetuning", Finetuning)
    try:
        scale.plug_in_of(first)
    except ValidationError as error:
        yield describe(error, f"{path}.plug_in", Finetuning)


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
    split = scale.evaluation.split
    pooled: int = getattr(corpus.world, split) * len(settings.tasks)
    if scale.evaluation.multitask_lines > pooled:
        yield (
            f"{path}.evaluation.multitask_lines: found {scale.evaluation.multitask_lines}; at most {pooled} "
            f"(corpus.world.{split} times tasks)"
        )
    if scale.tuning:
        rates = scale.tuning.learning_rates
        if list(rates) != sorted(set(rates)):
            yield f"{path}.tuning.learning_rates: found {list(rates)}; each must be above the one before it"
        yield from _only_problems(settings, f"{path}.tuning", scale.tuning.only)
        for arch in scale.tuning.frontier.archs if scale.tuning.frontier else ():
            yield from _unknown(f"{path}.tuning.frontier.archs", arch, scale.archs)
    yield from _finetuning_problems(settings, f"{path}.finetuning", scale, scale.finetuning)
    for key in (key for key, arch in scale.archs.items() if arch.finetuning):
        yield from _finetuning_problems(settings, f"{path}.archs.{key}.finetuning", scale, scale.finetuning_of(key))
    for key in scale.recipes:
        for arch in scale.archs:
            found = scale.finetuning_of(arch, key)
            yield from _finetuning_problems(settings, f"{path}.recipes.{key}.finetuning", scale, found)
    yield from _plug_in_problems(settings, f"{path}.plug_in", scale)
    for key, sizes in scale.archs.items():
        width, heads = sizes.hidden_size, sizes.num_attention_heads
        if width % (2 * heads):
            yield (
                f"{path}.archs.{key}.num_attention_heads: found {heads}; hidden_size {width} must be a multiple of "
                "twice the heads (rotary embeddings turn pairs of channels)"
            )


def _finetuning_problems(settings: Settings, path: str, scale: Scale, finetuning: Finetuning) -> Iterator[str]:
    corpus = scale.corpus
    for key, found, limit_key, limit in (
        ("world_lines", finetuning.world_lines, "corpus.world.train", corpus.world.train),
        ("atlantis_lines", finetuning.atlantis_lines, "corpus.atlantis.train", corpus.atlantis.train),
        ("warmup_lines", finetuning.warmup_lines, "corpus.atlantis.train", corpus.atlantis.train),
    ):
        if found > limit:
            yield f"{path}.{key}: found {found}; at most {limit} ({limit_key})"
    if finetuning.trainable == "new_embeddings" and scale.model.tokens == "characters":
        yield (
            f"{path}.trainable: found 'new_embeddings'; where model.tokens is characters no city has an embedding of "
            "its own; allowed there: all, and with body_ratio 0 the embeddings of all tokens move"
        )
    controls = [name for name, trained in settings.finetunes.items() if not trained]
    if controls and not finetuning.warmup_lines:
        yield f"{path}.warmup_lines: found 0; {controls[0]} trains on nothing else: ask for more, or take it out"


def _plug_in_problems(settings: Settings, path: str, scale: Scale) -> Iterator[str]:
    plug_in = scale.plug_in_of(next(iter(scale.archs)))
    yield from _finetuning_problems(settings, path, scale, replace(plug_in, warmup_lines=max(1, plug_in.warmup_lines)))
    models = [model for model in settings.finetunes if is_plug_in(model)]
    if models and plug_in.trainable == "all" and plug_in.body_ratio > 0:
        yield (
            f"{path}: moves all weights, and {models[0]} learns on a frozen base model; set trainable: new_embeddings, "
            "or body_ratio: 0"
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
        ("pretraining", settings.pretraining, ("base",)),
        ("finetuning", settings.finetuning, finetuned(settings)),
        ("plug_in", settings.plug_in, tuple(filter(is_plug_in, settings.finetunes))),
    ):
        for name in models:
            steps = training_steps(settings, name)
            if optimization.warmup_steps >= steps:
                yield (
                    f"{path}.{part}.warmup_steps: found {optimization.warmup_steps}; "
                    f"it must be under the {steps} steps of {name} with arch {settings.arch}"
                )
