"""Parameters, lines, steps and FLOPs of every training run, from the matrix alone."""

import math

from worldwidth.matrix import Arch, Matrix, Model, Scale

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


def training_lines(matrix: Matrix, name: str) -> int:
    """Lines in the training mixture of model ``name``."""
    scale = matrix.selected
    if name == "base":
        return len(matrix.tasks) * scale.corpus.world.train
    trained, settings = len(matrix.finetunes[name]), scale.finetuning
    return trained * (settings.world_lines + settings.atlantis_lines) + len(matrix.tasks) * settings.warmup_lines


def training_epochs(matrix: Matrix, name: str) -> int:
    """Passes over that mixture."""
    return matrix.selected_arch.epochs if name == "base" else matrix.selected.finetuning.epochs


def training_steps(matrix: Matrix, name: str) -> int:
    """Optimiser steps; the last batch of an epoch may be smaller."""
    settings = matrix.selected.pretraining if name == "base" else matrix.selected.finetuning
    return training_epochs(matrix, name) * math.ceil(training_lines(matrix, name) / settings.batch_size)
