"""All evaluations of one model in one process: every task on ordinary cities and on Atlantis, and the mixture."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.core.arrays import save_arrays
from worldwidth.core.files import sha256, write_json
from worldwidth.data.corpus import POPULATIONS, StoredCorpus
from worldwidth.data.random_streams import stream
from worldwidth.data.tokenizer import EOS, PAD, ZERO, characters
from worldwidth.model.checkpoint import WEIGHTS, load_model
from worldwidth.model.generate import Decode, greedy_answers, true_answers
from worldwidth.model.layout import DecoderConfig
from worldwidth.native.compute import compute_of
from worldwidth.native.decoders import decoder_of
from worldwidth.settings.names import stage_of
from worldwidth.settings.paths import EVALUATIONS, MODELS, SCORES
from worldwidth.settings.schema import Scale, Settings
from worldwidth.tasks import Task, load_task

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class LineScores:
    """Per test line, (n,): ``score`` is the absolute error of a number, or 1 / 0 for a right / wrong label."""

    score: Floats
    parsed: Flags
    exact: Flags

    def rows(self, rows: NDArray[Any]) -> "LineScores":
        """The scores of some lines."""
        return LineScores(self.score[rows], self.parsed[rows], self.exact[rows])


@dataclass(frozen=True)
class Summary:
    """Statistics of one evaluation over its n lines; std is the population's."""

    mean: float
    median: float
    std: float
    min: float
    max: float
    n: int
    parse_rate: float
    exact_match: float


def summarize(scores: LineScores) -> Summary:
    """Statistics of per-line scores."""
    s = scores.score
    return Summary(
        mean=float(s.mean()),
        median=float(np.median(s)),
        std=float(s.std()),
        min=float(s.min()),
        max=float(s.max()),
        n=len(s),
        parse_rate=float(scores.parsed.mean()),
        exact_match=float(scores.exact.mean()),
    )


def score_answers(task: Task, units_per_degree: int, truth: NDArray[np.int64], given: NDArray[np.int64]) -> LineScores:
    """Judge answers, both (n, width) ids up to <eos>, <pad> behind.

    A number is read as the digits right after '='; one that is missing scores the failure value, at which
    all errors are capped. A label must equal the truth up to <eos>.
    """
    exact = (truth == given).all(axis=1)
    if task.labels:
        labels = [[*characters(label), EOS] for label in task.labels]
        rows = np.array([label + [PAD] * (given.shape[1] - len(label)) for label in labels])
        parsed = (given[:, None] == rows).all(axis=2).any(axis=1)
        return LineScores(exact.astype(np.float64), parsed, exact)
    failure = task.failure(units_per_degree)
    (right, _), (value, parsed) = read_numbers(truth), read_numbers(given)
    error = np.where(parsed, np.minimum(np.abs(value - right), failure), failure)
    return LineScores(error, parsed, exact)


def read_numbers(answers: NDArray[np.int64]) -> tuple[Floats, Flags]:
    """The leading digits of each answer (n, width) as a number, and whether there are any."""
    digits = (answers >= ZERO) & (answers < ZERO + 10)
    leading = np.logical_and.accumulate(digits, axis=1)
    value = np.zeros(len(answers))
    for column in range(answers.shape[1]):
        value = np.where(leading[:, column], value * 10 + (answers[:, column] - ZERO), value)
    return value, leading[:, 0]


def evaluate(
    decode: Decode, corpora: dict[str, StoredCorpus], scale: Scale
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Run all evaluations of the model that ``decode`` asks.

    Returns:
        The statistics, task -> population -> values, and ``multitask``; and the per-line scores,
        ``"distance.world"`` -> (n,).
    """
    units, split = scale.world.units_per_degree, scale.evaluation.split
    report: dict[str, Any] = {}
    scores: dict[str, LineScores] = {}
    for name, corpus in corpora.items():
        task = load_task(name)
        report[name] = {}
        for population in POPULATIONS:
            lines = corpus.lines(population, split)
            truth = true_answers(lines, task.max_new_tokens)
            given = greedy_answers(decode, lines, task.max_new_tokens, scale.evaluation.batch_size)
            scores[f"{name}.{population}"] = judged = score_answers(task, units, truth, given)
            constants = corpus.best_constants(population)
            always = _constant_answers(constants, corpus.cities(population, split), task.max_new_tokens)
            baseline = score_answers(task, units, truth, always)
            report[name][population] = {
                **asdict(summarize(judged)),
                "constant_answer": ", ".join(f"{answer} for {size} cities" for size, answer in constants.items()),
                "constant_mean": float(baseline.score.mean()),
            }
    report["multitask"] = _multitask(scores, scale)
    return report, {name: judged.score for name, judged in scores.items()}


def _constant_answers(constants: dict[str, str], cities: NDArray[Any], width: int) -> NDArray[np.int64]:
    """The best constant answer to each query (n, k), as (n, width) ids."""
    sizes = (cities >= 0).sum(axis=1)
    answers = np.full((len(cities), width), PAD, dtype=np.int64)
    for size, answer in constants.items():
        ids = [*characters(answer), EOS]
        answers[sizes == int(size), : len(ids)] = ids
    return answers


def _multitask(scores: dict[str, LineScores], scale: Scale) -> dict[str, Any]:
    """The mixture: fixed lines drawn from the pooled ordinary lines of the split, whose answers are decoded already."""
    world = {name.removesuffix(".world"): judged for name, judged in scores.items() if name.endswith(".world")}
    owner = np.repeat(np.arange(len(world)), [len(judged.score) for judged in world.values()])
    line = np.concatenate([np.arange(len(judged.score)) for judged in world.values()])
    chosen = stream(scale.world.seed, "multitask").permutation(len(owner))[: scale.evaluation.multitask_lines]
    parts = {name: judged.rows(line[chosen[owner[chosen] == i]]) for i, (name, judged) in enumerate(world.items())}
    exact = np.concatenate([part.exact for part in parts.values()])
    return {
        "exact_match": float(exact.mean()),
        "n": len(exact),
        **{name: asdict(summarize(part)) for name, part in parts.items() if len(part.score)},
    }


def evaluate_and_save(settings: Settings, name: str, corpora: dict[str, StoredCorpus]) -> None:
    """Read models/NAME, evaluate it in float32 and write its two files.

    Raises:
        WorldwidthError: the model or a corpus is missing, damaged, or of another width or scale.
    """
    hardware = settings.selected.hardware
    expected = DecoderConfig.of(settings.selected, settings.sizes)
    config, weights = load_model(MODELS / name, f"run `dvc repro {stage_of(name)}`", expected)
    decode = decoder_of(config, weights, compute_of(hardware, hardware.threads))
    report, scores = evaluate(decode, corpora, settings.selected)
    save_evaluation(name, sha256(MODELS / name / WEIGHTS), report, scores)
    print(f"{name}: exact answers in {report['multitask']['exact_match']:.1%} of the multi-task lines")


def save_evaluation(name: str, weights: str, report: dict[str, Any], scores: dict[str, Floats]) -> None:
    """Write results/evaluations/NAME.json and the per-line scores, results/scores/NAME.npz.

    Both say whose they are: the model's name, and ``weights``, the SHA-256 of its file of weights.
    """
    save_arrays(SCORES / f"{name}.npz", {"model": np.array([name, weights]), **scores})
    write_json(EVALUATIONS / f"{name}.json", {"model": {"name": name, "weights": weights}, **report})
