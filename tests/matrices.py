"""Sound params.yaml at random, for hypothesis: within the ranges of the dataclasses and the rules between them."""

import json
import math
from itertools import combinations
from typing import Any

import yaml
from hypothesis import strategies as st

from worldwidth.settings.schema import COLOURS

TASKS = ("angle", "compass", "crossing", "distance", "inside", "perimeter", "trianglearea")
Draw = st.DrawFn
Values = dict[str, Any]

# words that YAML, git, Python or a shell could take for something else, and plain ones
names = st.sampled_from(["true", "null", "yes", "on", "n", "nan", "inf", "e1", "none", "con", "base", "x_1"]) | (
    st.from_regex("[a-z][a-z0-9_]{0,31}", fullmatch=True)
)
ids = st.from_regex("[0-9a-z]{1,32}", fullmatch=True) | st.sampled_from(["0", "007", "1e3", "0x1f", "null", "true"])
sources = st.just("geonames") | st.from_regex(
    r"([a-zA-Z0-9_][a-z0-9_.-]{0,8}/)?[A-Z0-9_-]{0,8}x\.csv", fullmatch=True
).filter(lambda path: not path.startswith("-") and "/-" not in path)
seeds = st.integers(0, 10**9 - 1)
counts = st.integers(1, 10**9)
positive = st.floats(0, 1e6, exclude_min=True) | st.integers(1, 10**6)
ratios = st.floats(1e-6, 1000)


# no line ends of Unicode, and nothing that JSON writes as two escapes, which YAML does not take for one character
lines = st.text(st.characters(max_codepoint=0xFFFD, exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=1000)
words = st.from_regex("[A-Za-z0-9_.,:@+-]{0,128}", fullmatch=True)
options = st.from_regex("--[a-z][a-z0-9-]{0,20}(=[ -~]{1,500})?", fullmatch=True)
clusters = st.fixed_dictionaries(
    {},
    optional={
        "partition": words,
        "account": words,
        "shared_folder": lines,
        "activate": lines,
        "sbatch": st.lists(options, max_size=5),
        "requeues": st.integers(0, 1000),
    },
)
resources = st.fixed_dictionaries(
    {"minutes": st.integers(1, 43_200), "cores": st.integers(1, 1024), "memory_gb": st.integers(1, 16_384)},
    optional={"gpus": st.integers(0, 16)},
)
kinds = ("data", "base", "finetunes", "evaluation", "summary")
executions = st.fixed_dictionaries(
    {"models_per_job": counts},
    optional={
        "resume_seconds": st.floats(0, 86_400),
        "jobs": st.fixed_dictionaries({}, optional=dict.fromkeys(kinds, resources)),
    },
)


def whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


@st.composite
def matrices(draw: Draw) -> Values:
    """A sound params.yaml as plain values; equal parts may be one object, which a dumper writes as an alias."""
    tasks = draw(st.lists(st.sampled_from(TASKS), min_size=2, unique=True))
    sets = [found for n in range(len(tasks) + 1) for found in combinations(tasks, n)]
    chosen = draw(st.lists(st.sampled_from(sets), min_size=1, max_size=6, unique=True))
    numbers = draw(st.lists(ids, min_size=len(chosen), max_size=len(chosen), unique=True))
    finetunes = {
        f"{draw(st.sampled_from(['ftwb', 'plug'])) if trained else 'ftwb'}{len(trained)}-{number}": draw(
            st.permutations(trained)
        )
        for number, trained in zip(numbers, chosen, strict=True)
    }
    budget = draw(st.sampled_from(["epochs", "tokens", "flops"]))
    needs_warmup = () in chosen
    scales = draw(st.dictionaries(names, _scales(len(tasks), budget, needs_warmup), min_size=1, max_size=2))
    scale = draw(st.sampled_from(list(scales)))
    archs = list(scales[scale]["archs"])
    arch = st.sampled_from(archs)
    top = {
        "arch": draw(arch),
        "scale": scale,
        "seed": draw(seeds),
        "budget": budget,
        "finetuning_budget": "epochs",  # of flops the steps can be under the warm-up's
        "reference": draw(arch),
        "recipe": draw(st.sampled_from(["default", *scales[scale]["recipes"]])),
        "parametrization": draw(st.sampled_from(["standard", "mup"])),
        "colours": draw(st.sampled_from(COLOURS)),
    }
    further = st.fixed_dictionaries(
        {}, optional={"cluster": clusters, "sweeps": _sweeps(scale, archs, list(finetunes))}
    )
    return {**top, "tasks": tasks, "finetunes": finetunes, "scales": scales, **draw(further)}


def _sweeps(scale: str, archs: list[str], finetunes: list[str]) -> st.SearchStrategy[Values]:
    several = st.fixed_dictionaries(
        {},
        optional={
            "arch": st.lists(st.sampled_from(archs), min_size=1, max_size=4),
            "world.atlantis.seed": st.lists(seeds, min_size=1, max_size=4),
            "finetuning.learning_rate": st.lists(positive, min_size=1, max_size=4),
            "finetuning.body_ratio": st.just([1.0, 0.0]),
        },
    )
    optional = {"only": st.lists(st.sampled_from(finetunes), max_size=3), "scale": st.just(scale)}
    return st.dictionaries(names, st.fixed_dictionaries({"vary": several}, optional=optional), max_size=3)


@st.composite
def _scales(draw: Draw, tasks: int, budget: str, needs_warmup: bool) -> Values:
    cities, atlantis = draw(whole(10, 30_000)), draw(whole(2, 999))
    digits = draw(whole(math.ceil(math.log10(cities + atlantis)), 6))
    center = [draw(st.floats(-180, 180)), draw(st.floats(-90, 90) | whole(-90, 90))]
    corpus = {
        p: {"train": draw(counts), "validation": draw(counts), "test": draw(counts)} for p in ("world", "atlantis")
    }
    most = min(12, cities // 2)
    archs = draw(st.dictionaries(names, _archs(), min_size=1, max_size=3))
    fewest_epochs = min(arch["epochs"] for arch in archs.values()) if budget == "epochs" else 0
    before = draw(_optimization(tasks * corpus["world"]["train"], fewest_epochs))
    lines = {
        "world_lines": draw(whole(0, corpus["world"]["train"])),
        "atlantis_lines": draw(whole(1, corpus["atlantis"]["train"])),
        "warmup_lines": draw(whole(int(needs_warmup), corpus["atlantis"]["train"])),
    }
    epochs = draw(counts)
    per_epoch = lines["world_lines"] + lines["atlantis_lines"] + tasks * lines["warmup_lines"]  # of one task
    after = {**draw(_optimization(per_epoch, epochs)), "epochs": epochs, **lines}
    return {
        "world": {
            "source": draw(sources),
            "cities": cities,
            "min_population": draw(seeds),
            "units_per_degree": draw(whole(1, 100)),
            "id_digits": digits,
            "atlantis": {"cities": atlantis, "center": center, "std": draw(positive), "seed": draw(seeds)},
            "seed": draw(seeds),
        },
        "corpus": {
            **corpus,
            "hull_cities": sorted([draw(whole(3, most)), draw(whole(3, most))]),
            "tour_cities": sorted([draw(whole(2, most)), draw(whole(2, most))]),
        },
        "model": {
            "num_hidden_layers": draw(whole(1, 96)),
            "initializer_range": draw(positive),
            "rms_norm_eps": draw(positive),
            "rope_theta": draw(positive),
            "tokens": draw(st.sampled_from(["characters", "cities"])),
        },
        "archs": archs,
        "pretraining": {**before, "atlantis": draw(st.booleans())},
        "finetuning": after,
        "recipes": draw(st.dictionaries(names.filter("default".__ne__), _recipes(list(archs)), max_size=2)),
        "plug_in": draw(st.fixed_dictionaries({"body_ratio": st.just(0.0)}, optional={"learning_rate": positive})),
        "evaluation": {
            "batch_size": draw(whole(1, 65_536)),
            "multitask_lines": draw(whole(1, min(10**9, tasks * corpus["world"]["test"]))),
        },
        "statistics": {"resamples": draw(whole(100, 10**6))},
        "hardware": {
            "device": draw(st.sampled_from(["auto", "cpu", "cuda"])),
            "precision": draw(st.sampled_from(["auto", "float32", "bfloat16"])),
            "threads": draw(whole(1, 1024)),
            "pretraining_threads": draw(whole(1, 1024)),
        },
        "execution": draw(executions),
    }


def _recipes(archs: list[str]) -> st.SearchStrategy[Values]:
    own = st.fixed_dictionaries({}, optional={"learning_rate": positive, "body_ratio": ratios})
    rates = st.dictionaries(st.sampled_from(archs), positive, max_size=2)
    return st.fixed_dictionaries({}, optional={"finetuning": own, "learning_rates": rates})


@st.composite
def _archs(draw: Draw) -> Values:
    heads = draw(whole(2, 256))
    own = {
        "num_hidden_layers": whole(1, 96),
        "pretraining": st.fixed_dictionaries({}, optional={"learning_rate": positive, "betas": st.just([0.9, 0.95])}),
        "finetuning": st.fixed_dictionaries({}, optional={"body_ratio": ratios, "log_every": counts}),
    }
    return {
        "hidden_size": 2 * heads * draw(whole(1, 16_384 // (2 * heads))),
        "intermediate_size": draw(whole(4, 65_536)),
        "num_attention_heads": heads,
        "epochs": draw(counts),
        **draw(st.fixed_dictionaries({}, optional=own)),
    }


@st.composite
def _optimization(draw: Draw, lines: int, epochs: int) -> Values:
    """Settings for at least ``lines`` a pass and ``epochs`` passes; with 0 passes nothing is known of the steps."""
    batch = draw(whole(1, 65_536))
    steps = epochs * math.ceil(lines / batch)
    betas = st.floats(0, 1, exclude_max=True)
    return {
        "optimizer": draw(st.sampled_from(["adamw", "muon"])),
        "learning_rate": draw(positive),
        "betas": [draw(betas), draw(betas)],
        "epsilon": draw(positive),
        "weight_decay": draw(st.floats(0, 10)),
        "max_grad_norm": draw(positive),
        "warmup_steps": draw(whole(0, min(10**9, max(0, steps - 1)))),
        "decay_fraction": draw(st.floats(0, 1, exclude_min=True)),
        "batch_size": batch,
        "loss": draw(st.sampled_from(["all", "answer"])),
        "checkpoints": draw(whole(0, 1000)),
        "log_every": draw(counts),
    }


@st.composite
def written_somehow(draw: Draw, values: Values) -> str:
    """``values`` as YAML of one of many styles, JSON among them."""
    if draw(st.booleans()) and draw(st.booleans()):
        text = json.dumps(values, indent=draw(st.none() | whole(0, 4)))
    else:
        scales = list(values["scales"].values())
        if draw(st.booleans()):
            scales[0]["finetuning"]["betas"] = scales[-1]["pretraining"]["betas"]  # one object: an anchor and an alias
        text = yaml.dump(
            values,
            Dumper=draw(st.sampled_from([yaml.CSafeDumper, yaml.SafeDumper])),
            default_flow_style=draw(st.sampled_from([True, False, None])),
            default_style=draw(st.sampled_from([None, None, '"', "'"])),
            sort_keys=draw(st.booleans()),
            explicit_start=draw(st.booleans()),
            explicit_end=draw(st.booleans()),
            canonical=draw(st.sampled_from([None, None, None, True])),
            indent=draw(whole(2, 8)),
            width=draw(st.sampled_from([20, 80, 1000])),
        )
    text = draw(st.sampled_from(["", "\ufeff", "# a comment\n"])) + text
    return text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))
