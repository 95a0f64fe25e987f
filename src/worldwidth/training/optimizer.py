"""The learning-rate schedule, and what of a model's flat weights each optimiser rules."""

from worldwidth.model.layout import MATRICES, OUTSIDE, VECTORS, DecoderConfig, slices
from worldwidth.settings.schema import Optimization

MUON_MOMENTUM = 0.95


def learning_rate(step: int, steps: int, optimization: Optimization) -> float:
    """Rate of optimiser step ``step`` (from 0) of ``steps``.

    Linear from 0 over ``warmup_steps``, as transformers counts them (the first step has rate 0), then
    constant, then linear to 0 over the last ``decay_fraction`` of what follows the warm-up. A fraction of
    1 is transformers' linear schedule, a smaller one warm-up-stable-decay.
    """
    if step < optimization.warmup_steps:
        return optimization.learning_rate * step / optimization.warmup_steps
    decay_steps = optimization.decay_fraction * (steps - optimization.warmup_steps)
    return optimization.learning_rate * min(1.0, (steps - step) / decay_steps)


def adamw_parts(config: DecoderConfig, optimization: Optimization) -> list[tuple[slice, float]]:
    """Slices of the flat weights that AdamW updates, with their weight decay; the rest is Muon's.

    ``muon`` gives the layers' matrices to Muon and the rest, embeddings and output head included, to AdamW.
    """
    places = slices(config)

    def joined(names: tuple[str, ...]) -> slice:
        return slice(places[names[0]].start, places[names[-1]].stop)

    matrices = OUTSIDE if optimization.optimizer == "muon" else (*OUTSIDE, *MATRICES)
    return [(joined(matrices), optimization.weight_decay), (joined(VECTORS), 0.0)]
