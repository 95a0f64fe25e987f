"""The 15 evaluations of one model, wall seconds: transformers' generate in 15 processes, in one, and this project.

Start-up counts for the variants that are processes. The answers are compared line by line.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

import ours
from generate_answers import Questions
from study import ROOT, Study, line_counts, load_study
from timing import HEADINGS, Comparison, Options, print_table, take_turns
from worldwidth.core.files import write_text
from worldwidth.data.corpus import POPULATIONS, Lines, StoredCorpus
from worldwidth.pipeline.render import DVC_YAML, render
from worldwidth.settings.compute import vocabulary_size
from worldwidth.settings.load import load
from worldwidth.settings.paths import CORPORA, EVALUATIONS, MODELS, PARAMS
from worldwidth.settings.strict_yaml import read_yaml
from worldwidth.tasks import load_task

_SEPARATE, _TOGETHER, _STAGE = "generate, a process a set", "generate, one process", "this project, stages/evaluate.py"
_WARM_GENERATE, _WARM = "generate, loaded", "this project, loaded"
_ANSWERS = "answers.json"
_TOLERANCE = 0.002  # share of answers that may differ: near-ties of float32 sums in another order


@dataclass(frozen=True)
class _Case:
    """One size of world and model."""

    scale: str
    arch: str
    training_lines: int
    """A task; for a model that is trained here."""
    training_steps: int
    training_batch: int
    test_lines: int


_LAPTOP = _Case("laptop", "wide", training_lines=8_000, training_steps=300, training_batch=128, test_lines=1_000)
_PAPER = _Case("paper", "narrow", training_lines=1_600, training_steps=120, training_batch=64, test_lines=256)


def run(options: Options) -> dict[str, Any]:
    """Laptop size and paper size."""
    rounds = options.turns(default=2, quick=1)
    cases = (_LAPTOP,) if options.quick else (_LAPTOP, _PAPER)
    return {case.scale: _measure(case, rounds, options) for case in cases}


def _measure(case: _Case, rounds: int, options: Options) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        study = _study_folder(case, folder)
        corpora = study.write_corpora(folder / CORPORA)
        origin = _model(case, study, corpora, folder / MODELS / "base")
        sets = [_write_set(test_set, folder) for test_set in _test_sets(study, corpora)]
        separate = sets[::6] if options.quick else sets
        bench = _Bench(folder, study, corpora, sets, separate)
        seconds = take_turns(
            {_SEPARATE: bench.separate, _TOGETHER: bench.together, _STAGE: bench.stage, _WARM: bench.warm}, rounds
        )
        agreement = bench.compare()
    warm = {_WARM_GENERATE: bench.loaded_seconds, _WARM: seconds.pop(_WARM)}
    processes = Comparison(seconds, reference=_SEPARATE, less_is_better=True)
    loaded = Comparison(warm, reference=_WARM_GENERATE, less_is_better=True)
    print_table(
        f"{case.scale}, {origin}: seconds for {len(sets)} sets, {case.test_lines} lines each; rounds: {rounds}"
        + ("" if separate == sets else f" ({len(separate)} processes scaled up)"),
        ["variant", *HEADINGS],
        [*processes.rows(), *loaded.rows()],
    )
    print(
        f"answers of generate and of this project: {agreement['different']:,} of {agreement['lines']:,} differ\n"
        f"largest difference of an exact-match rate: {agreement['exact_match_difference']:.4f}; "
        f"{agreement['exact_match']:.1%} of the multi-task lines are right"
    )
    assert agreement["different"] <= _TOLERANCE * agreement["lines"], f"{case.scale}: {agreement}"
    return {"model": origin, "processes": processes.statistics(), "loaded": loaded.statistics(), "agreement": agreement}


def _study_folder(case: _Case, folder: Path) -> Study:
    """A folder in which the project's stages run, at this case's size, with one thread."""
    values = read_yaml(ROOT / PARAMS)
    values["scale"] = case.scale
    scale = values["scales"][case.scale]
    scale["hardware"].update(device="cpu", threads=1)
    scale["evaluation"]["multitask_lines"] = case.test_lines
    write_text(folder / PARAMS, yaml.safe_dump(values, sort_keys=False))
    for name in ("src", "stages", "templates"):
        (folder / name).symlink_to(ROOT / name)
    write_text(folder / DVC_YAML, render(load(folder / PARAMS), folder))
    study = load_study(case.scale, folder / PARAMS)
    return study.with_lines(line_counts(study.scale.corpus, case.training_lines, case.test_lines))


def _model(case: _Case, study: Study, corpora: dict[str, StoredCorpus], folder: Path) -> str:
    """Put a model there: the one that the pipeline has trained if it is of this size, else one trained briefly."""
    arch, found = study.scale.archs[case.arch], ROOT / MODELS / "base"
    if (found / "model.safetensors").is_file():
        config = json.loads((found / "config.json").read_text(encoding="utf-8"))
        if (config["hidden_size"], config["vocab_size"]) == (arch.hidden_size, vocabulary_size(study.scale)):
            shutil.copytree(found, folder, ignore=shutil.ignore_patterns("steps"))
            return f"{case.arch}, models/base"
    # Laptop's settings teach the form of the answers in a few steps: then they end where real ones do.
    optimization = replace(load_study("laptop").scale.pretraining, batch_size=case.training_batch, warmup_steps=10)
    ours.save_trained_model(study, arch, corpora, optimization, case.training_steps, folder)
    return f"{case.arch} after {case.training_steps} steps"


def _test_sets(study: Study, corpora: dict[str, StoredCorpus]) -> list[Questions]:
    """The 14 sets of tasks and populations as text, and the mixture of the ordinary ones."""
    sets = [
        _as_text(study, task, population, corpus.lines(population, "test"))
        for task, corpus in corpora.items()
        for population in POPULATIONS
    ]
    ordinary = [test_set for test_set in sets if test_set.name.endswith(".world")]
    pool = [line for s in ordinary for line in zip(s.prompts, s.answers, s.failures, strict=True)]
    rows = ours.multitask_rows(study, [len(s.prompts) for s in ordinary])
    prompts, answers, failures = zip(*(pool[row] for row in rows), strict=True)
    longest = max(s.max_new_tokens for s in ordinary)
    return [*sets, Questions("multitask", list(prompts), list(answers), list(failures), longest)]


def _as_text(study: Study, name: str, population: str, lines: Lines) -> Questions:
    task = load_task(name)
    texts = [study.vocabulary.decode(ids).partition("=") for ids in lines.tokens.tolist()]
    failure = None if task.labels else task.failure(study.scale.world.units_per_degree)
    return Questions(
        name=f"{name}.{population}",
        prompts=[prompt + equals for prompt, equals, _ in texts],
        answers=[answer for _, _, answer in texts],
        failures=[failure] * len(texts),
        max_new_tokens=task.max_new_tokens,
    )


def _write_set(test_set: Questions, folder: Path) -> Path:
    path = folder / f"{test_set.name}.json"
    write_text(path, json.dumps(asdict(test_set)))
    return path


class _Bench:
    """The variants, each a call that returns its seconds."""

    def __init__(
        self,
        folder: Path,
        study: Study,
        corpora: dict[str, StoredCorpus],
        sets: list[Path],
        separate: list[Path],
    ) -> None:
        self._folder, self._study, self._corpora = folder, study, corpora
        self._sets, self._separate = sets, separate
        self._evaluate = ours.evaluator(folder / MODELS / "base", corpora, study)
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "src"}
        self.loaded_seconds: list[float] = []
        """Of every round: what generate took in one process once the model was loaded."""
        self._answered: dict[str, Any] = {}

    def separate(self) -> float:
        """A process a set, scaled up where not all are run."""
        return sum(map(self._generate, [[path] for path in self._separate])) * len(self._sets) / len(self._separate)

    def together(self) -> float:
        """One process for all sets."""
        seconds = self._generate(self._sets)
        written = json.loads((self._folder / _ANSWERS).read_text(encoding="utf-8"))
        self.loaded_seconds.append(written["seconds"])
        self._answered = written["sets"]
        return seconds

    def stage(self) -> float:
        """The project's stage, a process."""
        return self._timed(*ours.EVALUATE_BASE)

    def warm(self) -> float:
        """The project's evaluation in this process."""
        started = time.perf_counter()
        self._evaluate()
        return time.perf_counter() - started

    def _generate(self, sets: list[Path]) -> float:
        script = str(ROOT / "benchmarks" / "generate_answers.py")
        return self._timed(script, str(MODELS / "base"), _ANSWERS, *map(str, sets))

    def _timed(self, *command: str) -> float:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *command], cwd=self._folder, env=self._environment, check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - started

    def compare(self) -> dict[str, Any]:
        """How many answers, and by how much exact-match rates, differ between generate and this project."""
        report = json.loads((self._folder / EVALUATIONS / "base.json").read_text(encoding="utf-8"))
        different = lines = 0
        rates = [abs(report["multitask"]["exact_match"] - self._answered["multitask"]["exact_match"])]
        for task, corpus in self._corpora.items():
            for population in POPULATIONS:
                theirs = self._answered[f"{task}.{population}"]
                test, longest = corpus.lines(population, "test"), load_task(task).max_new_tokens
                given = ours.answers(self._folder / MODELS / "base", test, longest, self._study)
                different += sum(a != b for a, b in zip(given, theirs["answers"], strict=True))
                lines += len(given)
                rates.append(abs(report[task][population]["exact_match"] - theirs["exact_match"]))
        return {
            "different": different,
            "lines": lines,
            "exact_match_difference": max(rates),
            "exact_match": report["multitask"]["exact_match"],
        }
