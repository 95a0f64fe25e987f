"""What a study costs: steps, tokens, FLOPs and bytes of every stage and of every width, before anything runs."""

from dataclasses import dataclass, replace

import numpy as np

from worldwidth.data.corpus import POPULATIONS
from worldwidth.data.make_cities import make_cities
from worldwidth.data.make_corpus import generate
from worldwidth.settings.compute import parameter_count, training_epochs, training_flops, training_steps
from worldwidth.settings.names import stage_of
from worldwidth.settings.schema import Lines, Settings, finetuned

_SAMPLE = Lines(train=1000, validation=1, test=1)

LineSizes = tuple[dict[tuple[str, str], float], dict[str, int]]
"""Mean tokens of a line by (task, population), and bytes a line on disk by task."""


@dataclass(frozen=True)
class WidthPlan:
    """What pre-training and all fine-tuning of one width cost under the budgets; tokens are estimates."""

    arch: str
    parameters: int
    epochs: float
    steps: int
    tokens: int
    flops: int
    finetuning_steps: int
    """Of all fine-tuned models together, as are their FLOPs."""
    finetuning_flops: int


def stage_sizes(settings: Settings, lines: LineSizes) -> dict[str, dict[str, int]]:
    """stage -> steps, tokens, flops, bytes of what it writes."""
    scale = settings.selected
    lengths, line_bytes = lines
    parameters = parameter_count(scale, settings.sizes)
    sizes: dict[str, dict[str, int]] = {}
    for task in settings.tasks:
        counts = {p: getattr(scale.corpus, p) for p in POPULATIONS}
        total = {p: n.train + n.validation + n.test for p, n in counts.items()}
        sizes[f"corpus@{task}"] = {"bytes": total["world"] * line_bytes[task]}
        sizes.setdefault("atlantis", {"bytes": 0})["bytes"] += total["atlantis"] * line_bytes[task]
    for model in settings.models:
        optimization = settings.pretraining if model == "base" else settings.finetuning
        tokens = round(_mixture_tokens(settings, model, lengths) * training_epochs(settings, model))
        sizes[stage_of(model)] = {
            "steps": training_steps(settings, model),
            "tokens": tokens,
            "flops": training_flops(parameters, tokens),
            "bytes": 4 * parameters * (optimization.checkpoints + 2),  # those on the way, step 0 and the final model
        }
    return sizes


def width_plans(settings: Settings, lines: LineSizes) -> list[WidthPlan]:
    """Every width of the selected scale under the selected budgets."""
    lengths, _ = lines
    plans: list[WidthPlan] = []
    for arch in settings.selected.archs:
        own = replace(settings, arch=arch)
        parameters = parameter_count(own.selected, own.sizes)
        tokens = {
            model: round(_mixture_tokens(own, model, lengths) * training_epochs(own, model)) for model in own.models
        }
        plans.append(
            WidthPlan(
                arch=arch,
                parameters=parameters,
                epochs=training_epochs(own, "base"),
                steps=training_steps(own, "base"),
                tokens=tokens["base"],
                flops=training_flops(parameters, tokens["base"]),
                finetuning_steps=sum(training_steps(own, model) for model in finetuned(own)),
                finetuning_flops=training_flops(parameters, sum(tokens[model] for model in finetuned(own))),
            )
        )
    return plans


def line_sizes(settings: Settings) -> LineSizes:
    """Mean tokens of a line by (task, population), and bytes a line on disk by task, from 1,000 drawn lines."""
    scale = settings.selected
    small = replace(scale, corpus=replace(scale.corpus, world=_SAMPLE, atlantis=_SAMPLE))
    cities = make_cities(scale.world)
    lengths: dict[tuple[str, str], float] = {}
    line_bytes: dict[str, int] = {}
    for task in settings.tasks:
        for population in POPULATIONS:
            queries, lines = generate(small, task, population, cities)["train"]
            lengths[task, population] = float(np.mean(lines.lengths))
            stored = (
                lines.tokens.itemsize * lines.tokens.shape[1] + lines.lengths.itemsize + 2 * queries.cities.shape[1]
            )
            line_bytes[task] = max(line_bytes.get(task, 0), stored)
    return lengths, line_bytes


def _mixture_tokens(settings: Settings, model: str, lengths: dict[tuple[str, str], float]) -> float:
    """Tokens in one pass over the training mixture of ``model``."""
    scale = settings.selected
    if model == "base":
        atlantis = settings.pretraining.atlantis * scale.corpus.atlantis.train
        return sum(
            scale.corpus.world.train * lengths[task, "world"] + atlantis * lengths[task, "atlantis"]
            for task in settings.tasks
        )
    finetuning = settings.finetuning_for(model)
    trained = sum(
        finetuning.world_lines * lengths[task, "world"] + finetuning.atlantis_lines * lengths[task, "atlantis"]
        for task in settings.finetunes[model]
    )
    return trained + sum(finetuning.warmup_lines * lengths[task, "atlantis"] for task in settings.tasks)
