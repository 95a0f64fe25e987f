"""What must hold while a model trains, checked in its first steps: else wrong weights would look like a result.

Everything is compared with the recipe tensor by tensor, not with the table of groups that the optimisers read, and
after a step, with what the weights became, not with what was to be done. So it makes no difference what takes steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldwidth.core.errors import WorldwidthError
from worldwidth.model.layout import FUSED, MATRICES, OUTSIDE, VECTORS, DecoderConfig, Weights, shapes, slices
from worldwidth.model.packing import pack
from worldwidth.model.parametrization import factors
from worldwidth.settings.schema import Finetuning, Optimization
from worldwidth.training.engines import Engine
from worldwidth.training.mixture import Rows
from worldwidth.training.run import Run, Training

_AGAIN = 8
"""So many steps after the first one that is checked another is: a GPU has recorded the step by then."""
_EXACT = 1e-3  # of AdamW's change of a weight
_ROUNDING = 2.0**-22  # of a weight in float32
_ORTHOGONAL = (0.3, 1.5)  # the largest singular value of Muon's change of a matrix, over the rate
_POWER_ITERATIONS = 8


@dataclass(frozen=True)
class Tensor:
    """A named tensor, those of the layers layer by layer, and how the recipe moves it."""

    name: str
    place: slice
    """In the flat weights."""
    moving: slice
    """Its part that is moved; of length 0 where it is frozen."""
    factor: float
    """Times the scheduled learning rate."""
    epsilon: float
    weight_decay: float
    matrix: tuple[int, int] | None
    """Rows and columns of the matrices in it that Muon moves."""


def tensors_of(config: DecoderConfig, run: Run) -> list[Tensor]:
    """All weights, in their order."""
    return [tensor for name in slices(config) for tensor in _by_layer(name, config, run)]


def _by_layer(name: str, config: DecoderConfig, run: Run) -> Iterator[Tensor]:
    place, shape, optimization = slices(config)[name], shapes(config)[name], run.optimization
    factor, own = _factor(name, run), factors(name, run.width_ratio)
    muon = name in MATRICES and optimization.optimizer == "muon"
    split = FUSED.get(name, 1) if run.width_ratio else 1
    layers = 1 if name in (*OUTSIDE, "norm") else shape[0]
    size = (place.stop - place.start) // layers
    for layer, start in enumerate(range(place.start, place.stop, size), 1):
        stop = start + size
        first = stop - run.new_rows * config.hidden_size if _only_new_rows(optimization) else start
        yield Tensor(
            name=name if layers == 1 else f"{name} of layer {layer}",
            place=slice(start, stop),
            moving=slice(first if factor else stop, stop),
            factor=factor,
            epsilon=optimization.epsilon * (1.0 if muon else own.epsilon),
            weight_decay=0.0 if name in VECTORS else optimization.weight_decay,
            matrix=(shape[1] // split, shape[2]) if muon else None,
        )


def _only_new_rows(optimization: Optimization) -> bool:
    return isinstance(optimization, Finetuning) and optimization.trainable == "new_embeddings"


def _factor(name: str, run: Run) -> float:
    """What multiplies the scheduled rate of the weights ``name``; 0 where the recipe freezes them."""
    optimization = run.optimization
    own = factors(name, run.width_ratio).rate
    if name == "embed":
        return own
    if _only_new_rows(optimization):
        return 0.0
    return optimization.body_ratio * (1.0 if name in MATRICES and optimization.optimizer == "muon" else own)


def check_groups(training: Training) -> None:
    """Every weight is in exactly one of the optimiser's groups, with the rate of the recipe, or frozen by the recipe.

    Raises:
        WorldwidthError: one is not.
    """
    groups = sorted(training.groups, key=lambda group: group.place.start)
    for tensor in tensors_of(training.config, training.run):
        said, reached = f"{training.run.name}: {tensor.name}", tensor.moving.start
        for group in groups:
            start = max(group.place.start, tensor.place.start)
            stop = min(group.place.stop, tensor.place.stop)
            if start >= stop:
                continue
            if start < tensor.moving.start:
                raise WorldwidthError(f"{said}: expected weights {start:,} to {stop - 1:,} frozen, found in a group")
            if start != reached:
                found = "in no group" if start > reached else "in two groups"
                between = f"{min(start, reached):,} to {max(start, reached) - 1:,}"
                raise WorldwidthError(f"{said}: expected every weight in one optimiser group, found {between} {found}")
            if not np.isclose(group.rate, tensor.factor, rtol=1e-9, atol=0):
                raise WorldwidthError(f"{said}: expected {tensor.factor:g} x the rate, found {group.rate:g} x")
            reached = stop
        if reached != tensor.moving.stop:
            raise WorldwidthError(
                f"{said}: expected every weight in one optimiser group, "
                f"found {reached:,} to {tensor.moving.stop - 1:,} in no group"
            )


def check_step(training: Training, before: Weights, rows: Rows) -> None:
    """The step of ``training`` from ``before``, weights (n,), on the lines ``rows`` did what the recipe says.

    Every tensor that moves has a gradient (of the embedding: every row that the lines hold), and moved by the scheduled
    rate times its factor: each weight as AdamW's moments say, each of Muon's matrices by about an orthogonal one.
    All else has kept its bits. Weights that are not finite are left to :class:`DivergedError`.

    Raises:
        WorldwidthError: it did not.
    """
    if not np.isfinite(training.weights).all():
        return
    for tensor in tensors_of(training.config, training.run):
        said = f"{training.run.name}: step {training.step + 1:,}: {tensor.name}"
        _check_frozen(said, training.weights, before, slice(tensor.place.start, tensor.moving.start))
        if tensor.moving.start < tensor.moving.stop:
            _check_gradient(said, tensor, training, rows)
            check = _check_muon if tensor.matrix else _check_adamw
            check(said, tensor, training, before)


def check_frozen(training: Training, start: Weights) -> None:
    """What the recipe freezes has the bits of ``start`` (n,) after the whole run.

    Raises:
        WorldwidthError: it has not.
    """
    for tensor in tensors_of(training.config, training.run):
        place = slice(tensor.place.start, tensor.moving.start)
        _check_frozen(f"{training.run.name}: {tensor.name}", training.weights, start, place)


def _check_frozen(said: str, weights: Weights, before: Weights, place: slice) -> None:
    moved = weights[place].view(np.int32) != before[place].view(np.int32)
    if moved.any():
        at = place.start + int(moved.argmax())
        found = f"found {moved.sum():,} of {moved.size:,} moved, the first from {before[at]:g} to {weights[at]:g}"
        raise WorldwidthError(f"{said}: expected frozen, {found}")


def _check_gradient(said: str, tensor: Tensor, training: Training, rows: Rows) -> None:
    if tensor.name != "embed":
        if not training.first[tensor.moving].any():
            raise WorldwidthError(f"{said}: expected a gradient, found none in {training.first[tensor.moving].size:,}")
        return
    width, mixture = training.config.hidden_size, training.run.mixture
    tree = pack(mixture.tokens[rows], mixture.lengths[rows], training.run.optimization.loss)
    read = np.unique(tree.ids)
    read = read[read >= (tensor.moving.start - tensor.place.start) // width]
    still = read[~training.first[tensor.place].reshape(-1, width)[read].any(axis=1)]
    if len(still):
        found = f"found none for {len(still)} of {len(read)}, the first is token {still[0]}"
        raise WorldwidthError(f"{said}: expected a gradient for every token that was read, {found}")


def _check_adamw(said: str, tensor: Tensor, training: Training, before: Weights) -> None:
    """The weights moved by rate x (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon) and decay, with the moments
    m and v after the step: algorithm 2 of arXiv 1711.05101."""
    place, rate, count = tensor.moving, training.rate(training.step) * tensor.factor, training.step + 1
    (beta1, beta2), old = training.run.optimization.betas, before[place]
    first, second = training.first[place] / (1 - beta1**count), training.second[place] / (1 - beta2**count)
    direction = first / (np.sqrt(second) + tensor.epsilon) + tensor.weight_decay * old
    moved = training.weights[place] - old
    wrong = abs(moved + rate * direction) > _EXACT * rate * abs(direction) + _ROUNDING * abs(old)
    if wrong.any():
        implied = -float(np.vdot(moved[wrong], direction[wrong]) / np.vdot(direction[wrong], direction[wrong]))
        _refuse(said, training, tensor, f"found {wrong.sum():,} of {wrong.size:,} weights moved by {implied:.6g}")


def _check_muon(said: str, tensor: Tensor, training: Training, before: Weights) -> None:
    """Every matrix moved by rate x sqrt(max(1, rows / columns)) times one whose largest singular value is near 1."""
    assert tensor.matrix is not None
    rows, columns = tensor.matrix
    place, rate = tensor.moving, training.rate(training.step) * tensor.factor
    scaled = rate * max(1.0, rows / columns) ** 0.5
    old = before[place]
    if _ROUNDING * abs(old).max() * max(rows, columns) ** 0.5 > 0.1 * scaled:
        return  # a change that float32 rounds away
    change = (old * (1 - rate * tensor.weight_decay) - training.weights[place]) / np.float32(scaled)
    sizes = _largest_singular_values(change.reshape(-1, rows, columns))
    low, high = _ORTHOGONAL
    wrong = ~((low <= sizes) & (sizes <= high))
    if wrong.any():
        found = f"found {wrong.sum()} of {wrong.size} matrices moved by {rate * sizes[wrong][0]:.3g}"
        _refuse(said, training, tensor, f"{found}, which should be {low} to {high} times that")


def _refuse(said: str, training: Training, tensor: Tensor, found: str) -> None:
    rate = training.rate(training.step)
    expected = f"expected the rate {rate * tensor.factor:.6g}, {tensor.factor:g} x the schedule's {rate:.6g}"
    raise WorldwidthError(f"{said}: {expected}, {found}")


def _largest_singular_values(matrices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Nearly those of (count, rows, columns), by power iteration from the longest row of each."""
    longest = np.square(matrices).sum(axis=2).argmax(axis=1)
    vectors = matrices[np.arange(len(matrices)), longest][..., None]
    for _ in range(_POWER_ITERATIONS):
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-30))
        vectors = matrices.swapaxes(1, 2) @ (matrices @ vectors)
    found: NDArray[np.float32] = np.sqrt(np.linalg.norm(vectors, axis=(1, 2)))
    return found


class CheckedEngine:
    """An engine whose runs are checked: their groups at once, then two of their steps with a rate above 0.

    See :class:`worldwidth.training.engines.Engine`.
    """

    def __init__(self, engine: Engine, trainings: list[Training]) -> None:
        """
        Raises:
            WorldwidthError: the groups of a run are not those of its recipe.
        """
        self._engine, self._trainings = engine, trainings
        for training in trainings:
            check_groups(training)
        self._due = {training.run.name: _steps_to_check(training) for training in trainings}
        self.fetch_losses, self.fetch_weights = engine.fetch_losses, engine.fetch_weights
        self.validation_loss = engine.validation_loss

    def step(self) -> list[int]:
        """Take the next step of every run.

        Raises:
            WorldwidthError: it did something else than the recipe of a run says.
        """
        due = [training for training in self._trainings if training.step in self._due[training.run.name]]
        if not due:
            return self._engine.step()
        self._engine.fetch_weights()
        before = [(training, training.weights.copy(), next(training.rows())) for training in due]
        tokens = self._engine.step()
        self._engine.fetch_weights()
        for training, weights, rows in before:
            check_step(training, weights, rows)
        return tokens


def _steps_to_check(training: Training) -> tuple[int, ...]:
    steps = range(training.step, training.run.steps)
    first = next((step for step in steps if training.rate(step) > 0), None)
    return () if first is None else (first, first + _AGAIN)
