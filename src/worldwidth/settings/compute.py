"""Parameters, lines, steps and FLOPs of every training run, from the settings alone."""

import math

from worldwidth.settings.schema import Arch, Model, Scale, Settings

CHARACTER_IDS = 98  # four special ids and the printable ASCII characters without the space


def vocabulary_size(scale: Scale) -> int:
    """Number of token ids: the characters, and with ``tokens: cities`` one more for every city."""
    cities = scale.world.cities + scale.world.atlantis.cities
    return CHARACTER_IDS + (cities if scale.model.tokens == "cities" else 0)


def parameter_count(model: Model, arch: Arch, vocabulary: int) -> int:
    """Number of weights of the Qwen2 decoder with untied embeddings and biases on q, k and v only."""
    d = arch.hidden_size
    attention = 4 * d * d + 3 * d
    mlp = 3 * d * arch.intermediate_size
    norms = 2 * d
    return model.num_hidden_layers * (attention + mlp + norms) + d + 2 * vocabulary * d


def training_flops(parameters: int, tokens: int) -> int:
    """6 * N * D: forward and backward, as in Kaplan et al. 2020 (arXiv 2001.08361)."""
    return 6 * parameters * tokens


def training_lines(settings: Settings, name: str) -> int:
    """Lines in the training mixture of model ``name``."""
    scale = settings.selected
    if name == "base":
        return len(settings.tasks) * scale.corpus.world.train
    trained, finetuning = len(settings.finetunes[name]), scale.finetuning
    return (
        trained * (finetuning.world_lines + finetuning.atlantis_lines) + len(settings.tasks) * finetuning.warmup_lines
    )


def steps_per_epoch(settings: Settings, name: str) -> int:
    """Batches in one pass over that mixture; the last one may be smaller."""
    optimization = settings.selected.pretraining if name == "base" else settings.selected.finetuning
    return math.ceil(training_lines(settings, name) / optimization.batch_size)


def training_steps(settings: Settings, name: str) -> int:
    """Optimiser steps of model ``name``. The budget rules pre-training; fine-tuning is the same for every width."""
    scale, per_epoch = settings.selected, steps_per_epoch(settings, name)
    if name != "base":
        return scale.finetuning.epochs * per_epoch
    if settings.budget == "epochs":
        return settings.selected_arch.epochs * per_epoch
    reference, vocabulary = scale.archs[settings.reference], vocabulary_size(scale)
    steps = reference.epochs * per_epoch
    if settings.budget == "flops":  # 6 N D: the same FLOPs are D times N of the reference, divided by one's own N
        of_reference = parameter_count(scale.model, reference, vocabulary)
        steps = max(1, round(steps * of_reference / parameter_count(scale.model, settings.selected_arch, vocabulary)))
    return steps


def training_epochs(settings: Settings, name: str) -> float:
    """Passes over the mixture; no whole number where a budget set the steps."""
    return training_steps(settings, name) / steps_per_epoch(settings, name)
