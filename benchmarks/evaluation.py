"""The 15 evaluations of one model, wall seconds: transformers' generate in 15 processes, in one, and this project.

Start-up counts for the variants that are processes. The answers are compared line by line.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

import ours
from generate_answers import Questions
from study import ROOT, Study, load_study
from timing import HEADINGS, Comparison, Options, print_table, take_turns
from worldwidth.core.files import write_text
from worldwidth.data.corpus import POPULATIONS, StoredCorpus
from worldwidth.pipeline.render import DVC_YAML, render
from worldwidth.settings.load import load
from worldwidth.settings.paths import MODELS, PARAMS
from worldwidth.settings.strict_yaml import read_yaml
from worldwidth.tasks import load_task

_SEPARATE, _TOGETHER, _STAGE = "generate, a process a set", "generate, one process", "this project, stages/evaluate.py"
_WARM_GENERATE, _WARM_TORCH = "generate, loaded", "this project in torch, loaded"
_WARM = "this project natively, loaded"
_ANSWERS = "answers.json"
_TOLERANCE = 0.002  # share of answers that may differ: near-ties of float32 sums in another order
_SCALE, _ARCH, _TEST_LINES = "laptop", "wide", 1_000
_TRAINING_LINES, _TRAINING_STEPS = 8_000, 300  # enough for answers of the right form


def run(options: Options) -> dict[str, Any]:
    """Seconds of every variant, and how many answers differ."""
    rounds = options.turns(default=2, quick=1)
    with tempfile.TemporaryDirectory() as temporary:
        bench = _Bench(Path(temporary), every=6 if options.quick else 1)
        seconds = take_turns(
            {
                _SEPARATE: bench.separate,
                _TOGETHER: bench.together,
                _STAGE: bench.stage,
                _WARM_TORCH: bench.warm_in_torch,
                _WARM: bench.warm,
            },
            rounds,
        )
        different, lines = bench.compare()
    warm = {_WARM_GENERATE: bench.loaded_seconds, **{name: seconds.pop(name) for name in (_WARM_TORCH, _WARM)}}
    processes = Comparison(seconds, reference=_SEPARATE, less_is_better=True)
    loaded = Comparison(warm, reference=_WARM_GENERATE, less_is_better=True)
    print_table(
        f"{_SCALE} {_ARCH} after {_TRAINING_STEPS} steps: seconds for {len(bench.sets)} sets, "
        f"{_TEST_LINES} lines each; {len(bench.alone)} processes, scaled up where not all; rounds: {rounds}",
        ["variant", *HEADINGS],
        [*processes.rows(), *loaded.rows()],
    )
    print(f"answers of generate and of this project: {different:,} of {lines:,} differ")
    assert different <= _TOLERANCE * lines, f"{different} of {lines} answers differ"
    return {
        "processes": processes.statistics(),
        "loaded": loaded.statistics(),
        "agreement": {"different": different, "lines": lines},
    }


class _Bench:
    """A folder with a model and its test sets, and the variants, each a call that returns its seconds."""

    def __init__(self, folder: Path, every: int) -> None:
        """``every``: of so many sets one gets a process of its own."""
        self._folder, self._study = folder, _study_folder(folder)
        self._corpora = self._study.write_corpora(folder)
        sizes, lines = self._study.sizes(_ARCH), ours.shuffled_lines(self._corpora, self._study.seed)
        optimization = replace(self._study.scale.pretraining, warmup_steps=10)
        ours.save_trained_model(self._study, sizes, lines, optimization, _TRAINING_STEPS, folder / MODELS / "base")
        self.sets = [_written(questions, folder) for questions in _test_sets(self._study, self._corpora)]
        self.alone = self.sets[::every]
        model = folder / MODELS / "base"
        self._evaluate = ours.evaluator(model, self._corpora, self._study, ours.NATIVE)
        self._evaluate_in_torch = ours.evaluator(model, self._corpora, self._study, ours.TORCH)
        self.loaded_seconds: list[float] = []
        """Of every round: what generate took in one process once the model was loaded."""
        self._answers: dict[str, list[str]] = {}

    def separate(self) -> float:
        """A process a set, scaled up where not all are run."""
        return sum(self._generate([path]) for path in self.alone) * len(self.sets) / len(self.alone)

    def together(self) -> float:
        """One process for all sets."""
        seconds = self._generate(self.sets)
        written = json.loads((self._folder / _ANSWERS).read_text(encoding="utf-8"))
        self.loaded_seconds.append(written["seconds"])
        self._answers = written["answers"]
        return seconds

    def stage(self) -> float:
        """The project's stage, a process."""
        return self._timed("stages/evaluate.py", "base")

    def warm(self) -> float:
        """The project's evaluation in this process."""
        started = time.perf_counter()
        self._evaluate()
        return time.perf_counter() - started

    def warm_in_torch(self) -> float:
        """The same in torch."""
        started = time.perf_counter()
        self._evaluate_in_torch()
        return time.perf_counter() - started

    def compare(self) -> tuple[int, int]:
        """How many answers of generate are not this project's, and how many there are."""
        different = lines = 0
        for task, corpus in self._corpora.items():
            for population in POPULATIONS:
                test, longest = corpus.lines(population, "test"), load_task(task).max_new_tokens
                given = ours.answers(self._folder / MODELS / "base", test, longest, self._study)
                theirs = self._answers[f"{task}.{population}"]
                different += sum(a != b for a, b in zip(given, theirs, strict=True))
                lines += len(given)
        return different, lines

    def _generate(self, sets: list[Path]) -> float:
        script = str(ROOT / "benchmarks" / "generate_answers.py")
        return self._timed(script, str(MODELS / "base"), _ANSWERS, *map(str, sets))

    def _timed(self, *command: str) -> float:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "src"}
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *command], cwd=self._folder, env=environment, check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - started


def _study_folder(folder: Path) -> Study:
    """A folder in which the project's stages run, with one thread."""
    values = read_yaml(ROOT / PARAMS)
    values["scale"], values["arch"] = _SCALE, _ARCH
    scale = values["scales"][_SCALE]
    scale["hardware"].update(device="cpu", threads=1)
    scale["evaluation"]["multitask_lines"] = _TEST_LINES
    write_text(folder / PARAMS, yaml.safe_dump(values, sort_keys=False))
    for name in ("src", "stages", "templates"):
        (folder / name).symlink_to(ROOT / name)
    write_text(folder / DVC_YAML, render(load(folder / PARAMS), folder))
    return load_study(_SCALE, folder / PARAMS).with_lines(_TRAINING_LINES, _TEST_LINES)


def _test_sets(study: Study, corpora: dict[str, StoredCorpus]) -> list[Questions]:
    """The 14 sets of tasks and populations as text, and the mixture of the ordinary ones."""
    sets = []
    for task, corpus in corpora.items():
        for population in POPULATIONS:
            texts = map(study.vocabulary.decode, corpus.lines(population, "test").tokens.tolist())
            prompts = [text[: text.index("=") + 1] for text in texts]
            sets.append(Questions(f"{task}.{population}", prompts, load_task(task).max_new_tokens))
    ordinary = [questions for questions in sets if questions.name.endswith(".world")]
    pool = [prompt for questions in ordinary for prompt in questions.prompts]
    rows = ours.multitask_rows(study, [len(questions.prompts) for questions in ordinary])
    longest = max(questions.max_new_tokens for questions in ordinary)
    return [*sets, Questions("multitask", [pool[row] for row in rows], longest)]


def _written(questions: Questions, folder: Path) -> Path:
    path = folder / f"{questions.name}.json"
    write_text(path, json.dumps(asdict(questions)))
    return path
