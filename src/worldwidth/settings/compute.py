"""Parameters, lines, steps and FLOPs of every training run, from the settings alone."""

import math
from collections.abc import Callable
from fractions import Fraction

from worldwidth.settings.recipe import FinetuningRecipe, Length, PretrainingRecipe
from worldwidth.settings.schema import Finetuning, Scale, Settings, Sizes, is_plug_in

CHARACTER_IDS = 98  # four special ids and the printable ASCII characters without the space


def vocabulary_size(scale: Scale) -> int:
    """Number of token ids: the characters, and with ``tokens: cities`` one more for every city."""
    cities = scale.world.cities + scale.world.atlantis.cities
    return CHARACTER_IDS + (cities if scale.model.tokens == "cities" else 0)


def new_rows(scale: Scale) -> int:
    """Last rows of the embedding, of cities that pre-training never saw; none where tokens are characters."""
    return scale.world.atlantis.cities if scale.model.tokens == "cities" else 0


def parameter_count(scale: Scale, sizes: Sizes) -> int:
    """Number of weights of the Qwen2 decoder with untied embeddings and biases on q, k and v only."""
    d = sizes.hidden_size
    attention = 4 * d * d + 3 * d
    mlp = 3 * d * sizes.intermediate_size
    norms = 2 * d
    return sizes.num_hidden_layers * (attention + mlp + norms) + d + 2 * vocabulary_size(scale) * d


def training_flops(parameters: int, tokens: int) -> int:
    """6 * N * D: forward and backward, as in Kaplan et al. 2020 (arXiv 2001.08361)."""
    return 6 * parameters * tokens


def pretraining_recipe(settings: Settings) -> PretrainingRecipe:
    """What pre-training does: the selected arch's optimisation, for as many steps as the budget gives."""
    scale, optimization, reference = settings.selected, settings.pretraining, settings.reference
    lines = training_lines(settings, "base")
    if settings.budget == "epochs":
        steps = settings.selected_arch.epochs * math.ceil(lines / optimization.batch_size)
    else:
        theirs = scale.pretraining_of(reference).batch_size
        equal = scale.archs[reference].epochs * math.ceil(lines / theirs) * Fraction(theirs, optimization.batch_size)
        if settings.budget == "flops":  # 6 N D: the same FLOPs are D times N of the reference, divided by one's own N
            equal *= _weights_over_own(settings, reference)
        steps = max(1, round(equal))
    return PretrainingRecipe(
        sizes=settings.sizes, optimization=optimization, steps=steps, width_ratio=width_ratio(settings)
    )


def finetuning_recipe(settings: Settings) -> FinetuningRecipe:
    """What fine-tuning does: the selected arch's optimisation, as long as the budget says."""
    return _recipe_of(settings, settings.finetuning, settings.selected.finetuning_of)


def plug_in_recipe(settings: Settings) -> FinetuningRecipe:
    """The same of the models ``plug...``."""
    return _recipe_of(settings, settings.plug_in, settings.selected.plug_in_of)


def _recipe_of(settings: Settings, own: Finetuning, of_arch: Callable[[str, str], Finetuning]) -> FinetuningRecipe:
    length, size_ratio = Length.of(own), 1.0
    if settings.finetuning_budget == "flops":
        length = Length.of(of_arch(settings.reference, settings.recipe))
        size_ratio = float(_weights_over_own(settings, settings.reference))
    return FinetuningRecipe(optimization=own, length=length, size_ratio=size_ratio, width_ratio=width_ratio(settings))


def recipe_for(settings: Settings, model: str) -> FinetuningRecipe:
    """What the training of a fine-tuned model does."""
    return plug_in_recipe(settings) if is_plug_in(model) else finetuning_recipe(settings)


def _weights_over_own(settings: Settings, name: str) -> Fraction:
    """Weights of the arch ``name`` over those of the selected one."""
    scale = settings.selected
    return Fraction(parameter_count(scale, scale.sizes_of(scale.archs[name])), parameter_count(scale, settings.sizes))


def finetuning_steps(recipe: FinetuningRecipe, trained: int, tasks: int) -> int:
    """Optimiser steps of a model that trains ``trained`` of ``tasks`` tasks; of none, as many as of one."""
    length = recipe.length
    batches = math.ceil(mixture_lines(length, max(1, trained), tasks) / length.batch_size)
    share = length.batch_size / recipe.optimization.batch_size * recipe.size_ratio
    return max(1, round(length.epochs * batches * share))


def mixture_lines(finetuning: Length, trained: int, tasks: int) -> int:
    """Lines in the mixture of a model that trains ``trained`` of ``tasks`` tasks."""
    return trained * (finetuning.world_lines + finetuning.atlantis_lines) + tasks * finetuning.warmup_lines


def training_lines(settings: Settings, name: str) -> int:
    """Lines in the training mixture of model ``name``."""
    tasks = len(settings.tasks)
    if name == "base":
        corpus = settings.selected.corpus
        return tasks * (corpus.world.train + settings.pretraining.atlantis * corpus.atlantis.train)
    return mixture_lines(Length.of(settings.finetuning_for(name)), len(settings.finetunes[name]), tasks)


def training_steps(settings: Settings, name: str) -> int:
    """Optimiser steps of model ``name``."""
    if name == "base":
        return pretraining_recipe(settings).steps
    return finetuning_steps(recipe_for(settings, name), len(settings.finetunes[name]), len(settings.tasks))


def training_epochs(settings: Settings, name: str) -> float:
    """Passes over the mixture; no whole number where a budget set the steps."""
    optimization = settings.pretraining if name == "base" else settings.finetuning_for(name)
    return training_steps(settings, name) / math.ceil(training_lines(settings, name) / optimization.batch_size)


def width_ratio(settings: Settings) -> float | None:
    """Width over that of the reference, by which ``mup`` scales; None under ``standard``."""
    if settings.parametrization == "standard":
        return None
    return settings.sizes.hidden_size / settings.selected.archs[settings.reference].hidden_size
