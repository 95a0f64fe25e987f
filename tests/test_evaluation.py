"""Judging answers, the statistics of an evaluation, all 15 evaluations of a model, and what computes them.

pytest tests/test_evaluation.py
"""

import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from short_runs import Model
from worldwidth.core.files import read_json
from worldwidth.data.corpus import POPULATIONS, Lines, StoredCorpus
from worldwidth.data.random_streams import stream
from worldwidth.data.tokenizer import Vocabulary, characters
from worldwidth.evaluation.evaluate import LineScores, evaluate, save_evaluation, score_answers, summarize
from worldwidth.model.decoding import torch_decoder
from worldwidth.model.generate import Decode, greedy_answers
from worldwidth.settings.axes import with_values
from worldwidth.settings.rules import broken_rule
from worldwidth.settings.schema import Scale, Settings
from worldwidth.tasks import load_task

pytestmark = pytest.mark.usefixtures("one_thread")

PAD, UNK, BOS, EOS = range(4)
NUMBERS = ("distance", "trianglearea", "angle", "perimeter")
LABELS = {
    "compass": ("E", "NE", "N", "NW", "W", "SW", "S", "SE"),
    "inside": ("FALSE", "TRUE"),
    "crossing": ("FALSE", "TRUE"),
}
FAILURE = {"distance": 4024.92, "trianglearea": 3_240_000, "angle": 180, "perimeter": 20_000}  # at paper scale
Corpora = dict[str, StoredCorpus]
Answer = str | list[int]


def rows(answers: list[Answer], width: int) -> NDArray[np.int64]:
    """Answers as decoding gives them: a text is followed by <eos>; ids are taken as they are."""
    ids = [[*characters(answer), EOS] if isinstance(answer, str) else answer for answer in answers]
    assert all(len(row) <= width for row in ids)
    return np.array([row + [PAD] * (width - len(row)) for row in ids], dtype=np.int64)


def judged(task: str, units: int, truth: str, given: Answer) -> tuple[Any, bool, bool]:
    """(score, parsed, exact) of one answer."""
    width = load_task(task).max_new_tokens
    scores = score_answers(load_task(task), units, rows([truth], width), rows([given], width))
    assert scores.score.shape == scores.parsed.shape == scores.exact.shape == (1,)
    assert scores.score.dtype == np.float64
    assert scores.parsed.dtype == scores.exact.dtype == np.bool_
    return float(scores.score[0]), bool(scores.parsed[0]), bool(scores.exact[0])


@pytest.mark.parametrize("task", NUMBERS)
def test_numbers(task: str) -> None:
    failure, width = FAILURE[task], load_task(task).max_new_tokens
    nines, endless = "9" * (width - 1), characters("1" * width)
    cases: list[tuple[str, Answer, float, bool, bool]] = [
        ("123", "123", 0, True, True),
        ("0", "0", 0, True, True),
        ("123", "120", 3, True, False),
        ("120", "123", 3, True, False),
        ("100", "0", 100, True, False),
        ("123", "12", 111, True, False),
        ("123", "0123", 0, True, False),  # the right number, written otherwise: no error, but not exact
        ("123", "123abc", 0, True, False),
        ("123", "124.9", 1, True, False),
        ("123", "125,123", 2, True, False),
        ("123", "12=3", 111, True, False),
        ("0", nines, failure, True, False),
        ("123", endless, failure, True, False),  # digits without end
        ("123", characters("123"), 0, True, False),  # <pad> where <eos> should stand
        ("123", [*characters("123"), BOS, EOS], 0, True, False),
        ("123", [*characters("12"), PAD, *characters("3"), EOS], 111, True, False),
        ("123", "", failure, False, False),
        ("123", "-123", failure, False, False),
        ("123", " 123", failure, False, False),
        ("123", "abc", failure, False, False),
        ("123", "=123", failure, False, False),
        ("123", "TRUE", failure, False, False),
        ("123", [PAD] * width, failure, False, False),
        ("123", [PAD, *characters("123"), EOS], failure, False, False),
        ("123", [UNK, EOS], failure, False, False),
    ]
    for truth, given, score, parsed, exact in cases:
        found = judged(task, 10, truth, given)
        assert found == (pytest.approx(min(score, failure), rel=1e-9), parsed, exact), (truth, given)


@pytest.mark.parametrize("task", NUMBERS)
def test_ids_of_cities_are_no_digits(task: str) -> None:
    assert judged(task, 1, "7", [98, EOS])[1:] == (False, False)
    assert judged(task, 1, "7", [*characters("7"), 98, EOS]) == (0, True, False)


@pytest.mark.parametrize(("units", "failure"), [(10, 4024.92), (1, 402.492)])
def test_an_error_is_capped_at_the_failure_value(units: int, failure: float) -> None:
    assert judged("distance", units, "0", str(int(failure)))[0] == int(failure)
    assert judged("distance", units, "0", str(int(failure) + 1)) == (pytest.approx(failure), True, False)
    assert judged("distance", units, str(int(failure) + 1), "0") == (pytest.approx(failure), True, False)
    assert judged("distance", units, "1", "x")[0] == pytest.approx(failure)


@pytest.mark.parametrize("task", list(LABELS))
def test_labels(task: str) -> None:
    labels, width = LABELS[task], load_task(task).max_new_tokens
    for truth in labels:
        for given in labels:
            assert judged(task, 10, truth, given) == (float(given == truth), True, given == truth)
        wrong: list[Answer] = [
            "",
            truth + truth,
            truth + " ",
            truth + ".",
            truth.lower(),
            "=" + truth,
            "1",
            characters(truth),  # <pad> where <eos> should stand
            [PAD, *characters(truth), EOS],
            [*characters(truth), *[characters("E")[0]] * (width - len(truth))],
            [PAD] * width,
        ]
        for answer in wrong:
            assert judged(task, 10, truth, answer) == (0.0, False, False), (truth, answer)


def test_many_answers_at_once_are_judged_one_by_one() -> None:
    for task, truths in (("angle", ["0", "7", "45", "180"]), ("compass", list(LABELS["compass"]))):
        width = load_task(task).max_new_tokens
        given: list[Answer] = ["", "45", "180", "x1", "N", "SE", "S", [PAD] * width, "99999999"]
        pairs = [(truth, answer) for truth in truths for answer in given]
        truth, answers = rows([t for t, _ in pairs], width), rows([a for _, a in pairs], width)
        scores = score_answers(load_task(task), 10, truth, answers)
        found = list(zip(scores.score.tolist(), scores.parsed.tolist(), scores.exact.tolist(), strict=True))
        assert found == [judged(task, 10, *pair) for pair in pairs]


def test_the_statistics_are_those_of_numpy() -> None:
    generator = np.random.default_rng(0)
    for n in (1, 2, 101):
        score = generator.exponential(100.0, n)
        parsed, exact = generator.random(n) < 0.7, generator.random(n) < 0.3
        found = asdict(summarize(LineScores(score, parsed, exact)))
        assert found == pytest.approx(
            {
                "mean": score.sum() / n,
                "median": np.percentile(score, 50),
                "std": np.sqrt(((score - score.mean()) ** 2).mean()),
                "min": np.sort(score)[0],
                "max": np.sort(score)[-1],
                "n": n,
                "parse_rate": parsed.sum() / n,
                "exact_match": exact.sum() / n,
            }
        )
        assert {type(value) for value in found.values()} == {int, float}, "plain numbers, which JSON can hold"


# all evaluations of one model

STATISTICS = {"mean", "median", "std", "min", "max", "n", "parse_rate", "exact_match"}
Report = tuple[dict[str, Any], dict[str, NDArray[np.float64]]]


@pytest.fixture(scope="module")
def scale(smoke: dict[str, Settings]) -> Scale:
    selected = smoke["cities"].selected
    return replace(selected, evaluation=replace(selected.evaluation, batch_size=16, multitask_lines=100))


@pytest.fixture(scope="module")
def corpora(smoke_corpora: dict[str, Corpora]) -> Corpora:
    return smoke_corpora["cities"]


@pytest.fixture(scope="module")
def models(trained: dict[str, Model], make_model: Callable[..., Model]) -> list[Decode]:
    return [torch_decoder(*model, "cpu", 1) for model in (trained["cities"], make_model("narrow"))]


@pytest.fixture(scope="module")
def reports(models: list[Decode], corpora: Corpora, scale: Scale) -> list[Report]:
    return [evaluate(model, corpora, scale) for model in models]


def naive_scores(model: Decode, task: str, lines: Lines, vocabulary: Vocabulary) -> LineScores:
    """Judged as text, in plain Python, units of 1 degree."""
    new = load_task(task).max_new_tokens
    score: list[float] = []
    parsed: list[bool] = []
    exact: list[bool] = []
    answers = greedy_answers(model, lines, new, 512).tolist()
    for line, ids in zip(lines.tokens.tolist(), answers, strict=True):
        truth = vocabulary.decode(line).split("=")[1]
        ended = ids.index(EOS) if EOS in ids else None
        said = "".join(vocabulary.tokens[i] for i in ids[:ended])
        right = ended is not None and said == truth
        if task in LABELS:
            score.append(float(right))
            parsed.append(ended is not None and said in LABELS[task])
        else:
            digits = "".join(c if c in "0123456789" and len(c) == 1 else "." for c in said).split(".")[0]
            tokens_are_digits = bool(digits) and ids[0] >= 88 and ids[0] <= 97
            failure = {"distance": 402.492, "trianglearea": 32_400.0, "angle": 180.0, "perimeter": 2_000.0}[task]
            score.append(min(abs(int(digits) - int(truth)), failure) if tokens_are_digits else failure)
            parsed.append(tokens_are_digits)
        exact.append(right)
    return LineScores(np.array(score, dtype=float), np.array(parsed), np.array(exact))


def test_there_are_fifteen_evaluations(reports: list[Report], corpora: Corpora) -> None:
    for report, scores in reports:
        assert list(report) == [*corpora, "multitask"]
        assert list(scores) == [f"{task}.{population}" for task in corpora for population in POPULATIONS]
        for task in corpora:
            assert list(report[task]) == ["world", "atlantis"]
            for population in POPULATIONS:
                assert set(report[task][population]) == STATISTICS | {"constant_answer", "constant_mean"}
                assert report[task][population]["n"] == 40
                assert scores[f"{task}.{population}"].shape == (40,)
        assert report["multitask"]["n"] == 100


def test_every_evaluation_is_that_of_plain_python(
    reports: list[Report], models: list[Decode], corpora: Corpora, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    for model, (report, scores) in zip(models, reports, strict=True):
        for task, corpus in corpora.items():
            for population in POPULATIONS:
                wanted = naive_scores(model, task, corpus.lines(population, "test"), smoke_vocabularies["cities"])
                np.testing.assert_allclose(scores[f"{task}.{population}"], wanted.score)
                found = {key: report[task][population][key] for key in STATISTICS}
                assert found == pytest.approx(asdict(summarize(wanted)))
    trained, untrained = (report for report, _ in reports)
    assert trained["compass"]["world"]["exact_match"] > 0.5, "its training lines"
    assert trained["compass"]["world"]["mean"] == trained["compass"]["world"]["exact_match"]
    assert untrained["compass"]["world"]["parse_rate"] < 0.5


def test_the_best_constant_answer_stands_beside(
    reports: list[Report], corpora: Corpora, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    """The best answer by the number of cities alone, found on the training lines, given to every test line."""

    def asked(corpus: StoredCorpus, population: str, split: str) -> list[tuple[int, str]]:
        texts = [smoke_vocabularies["cities"].decode(row) for row in corpus.lines(population, split).tokens.tolist()]
        return [(len(re.findall(r"c_\d", text)), text.split("=")[1]) for text in texts]

    def mean(task: str, said: str, truths: list[str]) -> float:
        if task in LABELS:
            return sum(truth == said for truth in truths) / len(truths)
        return sum(abs(int(truth) - int(said)) for truth in truths) / len(truths)

    for task, corpus in corpora.items():
        for population in POPULATIONS:
            training, test = (asked(corpus, population, split) for split in ("train", "test"))
            total, said = 0.0, corpus.best_constants(population)
            assert set(said) == {str(size) for size, _ in training}
            for size, answer in said.items():
                truths = [truth for cities, truth in training if cities == int(size)]
                candidates = [mean(task, candidate, truths) for candidate in {answer, *truths}]
                best = max(candidates) if task in LABELS else min(candidates)
                assert mean(task, answer, truths) == pytest.approx(best, rel=2e-3), "a median may be rounded"
                truths = [truth for cities, truth in test if cities == int(size)]
                total += mean(task, answer, truths) * len(truths)
            for report, _ in reports:
                assert report[task][population]["constant_mean"] == pytest.approx(total / 40)
                assert all(answer in report[task][population]["constant_answer"] for answer in said.values())


@pytest.mark.parametrize("count", [1, 3, 100, 280])
def test_the_mixture_is_the_same_lines_for_every_model(
    count: int, reports: list[Report], models: list[Decode], corpora: Corpora, scale: Scale,
    smoke_vocabularies: dict[str, Vocabulary],
) -> None:  # fmt: skip
    """Fixed lines of the pooled ordinary test sets; their order is a stream of the world's seed."""
    scale = replace(scale, evaluation=replace(scale.evaluation, multitask_lines=count))
    pool = [(task, line) for task in corpora for line in range(40)]
    chosen = [pool[i] for i in stream(scale.world.seed, "multitask").permutation(280)[:count]]
    assert len(set(chosen)) == count
    for model, (whole, scores) in zip(models, reports, strict=True):
        found = (whole if count == 100 else evaluate(model, corpora, scale)[0])["multitask"]
        assert set(found) == {"exact_match", "n"} | {task for task, _ in chosen}
        assert found["n"] == count
        exact = 0
        for task in {task for task, _ in chosen}:
            picked = np.array([line for name, line in chosen if name == task])
            lines = corpora[task].lines("world", "test")
            wanted = naive_scores(model, task, lines, smoke_vocabularies["cities"]).rows(picked)
            assert found[task] == pytest.approx(asdict(summarize(wanted)))
            assert found[task]["mean"] == pytest.approx(scores[f"{task}.world"][picked].mean())
            exact += int(wanted.exact.sum())
        assert found["exact_match"] == pytest.approx(exact / count)


def test_tuning_scores_the_validation_lines(
    models: list[Decode], corpora: Corpora, scale: Scale, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    """And no test line: all scores, the constant answers and the mixture are of the other split."""
    tuned = replace(scale, evaluation=replace(scale.evaluation, split="validation", multitask_lines=7 * 16))
    report, scores = evaluate(models[0], corpora, tuned)
    for task, corpus in corpora.items():
        for population in POPULATIONS:
            wanted = naive_scores(models[0], task, corpus.lines(population, "validation"), smoke_vocabularies["cities"])
            np.testing.assert_allclose(scores[f"{task}.{population}"], wanted.score)
            assert report[task][population]["n"] == len(wanted.score) == 16
        assert report["multitask"][task]["mean"] == pytest.approx(scores[f"{task}.world"].mean())
    assert report["multitask"]["n"] == 7 * 16
    assert (
        report["distance"]["atlantis"]["constant_mean"]
        != evaluate(models[0], corpora, scale)[0]["distance"]["atlantis"]["constant_mean"]
    )


@pytest.mark.parametrize(("split", "most"), [("test", 280), ("validation", 112)])
def test_the_mixture_is_no_larger_than_its_split(settings: Settings, split: str, most: int) -> None:
    """smoke: 40 test lines and 16 validation lines of seven tasks."""

    def broken(lines: int) -> str | None:
        values = (("evaluation.split", split), ("evaluation.multitask_lines", lines))
        return broken_rule(with_values(replace(settings, scale="smoke"), values))

    assert broken(most) is None
    assert broken(most + 1) == (
        f"scales.smoke.evaluation.multitask_lines: found {most + 1}; at most {most} (corpus.world.{split} times tasks)"
    )


def test_evaluating_again_gives_the_same(
    reports: list[Report], models: list[Decode], corpora: Corpora, scale: Scale
) -> None:
    again, scores = evaluate(models[0], corpora, replace(scale, evaluation=replace(scale.evaluation, batch_size=512)))
    assert again == reports[0][0]
    assert all((scores[name] == reports[0][1][name]).all() for name in scores)


def test_an_evaluation_on_disk(reports: list[Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report, scores = reports[0]
    save_evaluation("ftwb2-12", "0f9c", report, scores)
    of_model = {"name": "ftwb2-12", "weights": "0f9c"}
    assert read_json(Path("results/evaluations/ftwb2-12.json"), "") == {"model": of_model, **report}
    with np.load("results/scores/ftwb2-12.npz") as stored:
        assert stored.files == ["model", *scores]
        assert stored["model"].tolist() == ["ftwb2-12", "0f9c"]
        for name in scores:
            assert (stored[name] == scores[name]).all(), "in full precision: the tables must agree to the last digit"
    first = Path("results/scores/ftwb2-12.npz").read_bytes()
    save_evaluation("ftwb2-12", "0f9c", report, scores)
    assert Path("results/scores/ftwb2-12.npz").read_bytes() == first, "the same scores, the same bytes"
    with zipfile.ZipFile("results/scores/ftwb2-12.npz") as archive:
        assert {part.compress_type for part in archive.infolist()} == {zipfile.ZIP_STORED}, "whatever zlib there is"
    found = sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())
    assert found == ["results/evaluations/ftwb2-12.json", "results/scores/ftwb2-12.npz"]
