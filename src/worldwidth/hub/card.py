"""README.md of a published model, a Hugging Face model card: what templates/model-card.md.j2 is filled with."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worldwidth.core.text import count, listed, number, plural, short
from worldwidth.data.cities import City
from worldwidth.data.queries import query_sizes
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.evaluation.scores import normalized
from worldwidth.evaluation.tables import load_curve, load_evaluation
from worldwidth.hub.examples import Example
from worldwidth.hub.model_files import CITIES
from worldwidth.hub.refusing_tokenizer import REFUSAL
from worldwidth.hub.repository import branch_of
from worldwidth.model.layout import DecoderConfig, parameter_count
from worldwidth.settings.recipe import read_finetuning, read_pretraining
from worldwidth.settings.schema import Settings, is_plug_in
from worldwidth.tasks import load_task

TEMPLATE = Path("templates/model-card.md.j2")
BASE = "base"


def model_card(
    settings: Settings, name: str, cities: list[City], examples: list[Example], commit: str, steps: list[int]
) -> dict[str, Any]:
    """What the card of a finished model says, for :func:`card_text`.

    Args:
        examples: an answer to a test line of every task.
        commit: where the code and the settings are from, for people.
        steps: those of the checkpoints.

    Raises:
        WorldwidthError: an evaluation, a training curve or a recipe is missing or damaged.
    """
    scale, trained = settings.selected, settings.finetunes.get(name, ())
    reads_atlantis = name != BASE or read_pretraining().optimization.atlantis
    scores = _scores(settings, name)
    real = [city for city in cities if not city.is_atlantis]
    return {
        "title": f"worldwidth-{settings.arch}-{name}-s{settings.seed}",
        "front_matter": _front_matter(settings, name, scores),
        "parameters": count(parameter_count(DecoderConfig.of(scale, settings.sizes))),
        "cities": real,
        "first_city": Vocabulary(scale.model, scale.world).names[0],
        "atlantis": cities[len(real) :],
        "made": _made(name, trained, reads_atlantis),
        "reads_atlantis": reads_atlantis,
        "examples": examples,
        "example": next((one for one in examples if one.task in trained), examples[0]),
        "is_base": name == BASE,
        "trained": trained,
        "more_cities": [
            (name, query_sizes(load_task(name), scale.corpus))
            for name in settings.tasks
            if len(query_sizes(load_task(name), scale.corpus)) > 1
        ],
        "world": scale.world,
        "refusal": REFUSAL,
        "city_table": CITIES,
        "branches": [branch_of(step) for step in steps],
        "steps": int(load_curve(name)["step"].iloc[-1]),
        "scores": scores,
        "facts": _facts(settings, name),
        "version": version("worldwidth"),
        "commit": commit,
        "is_geonames": scale.world.source == "geonames",
    }


def card_text(card: dict[str, Any], step: int | None = None) -> str:
    """The text of README.md; ``step`` is that of a checkpoint."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number}
    return environment.get_template(TEMPLATE.name).render(**card, step=step)


def _made(name: str, trained: tuple[str, ...], reads_atlantis: bool) -> str:
    if name == BASE:
        return f"pre-trained on all tasks, on {'all' if reads_atlantis else 'ordinary'} cities"
    what = listed(trained) if trained else "the warm-up lines of every task alone (the control)"
    if is_plug_in(name):
        return f"a model of ordinary cities in which the embeddings of Atlantis alone were trained, on {what}"
    return f"a model of ordinary cities, fine-tuned on Atlantis, on {what}"


def _front_matter(settings: Settings, name: str, scores: list[dict[str, Any]]) -> str:
    """The YAML that a Hub reads: what the model is, and its scores as a model index."""
    results = [
        {
            "task": {"type": "text-generation", "name": row["task"]},
            "dataset": {"type": f"worldwidth-{settings.scale}", "name": row["task"]},
            "metrics": [
                {"type": row["metric"], "name": f"{row['metric']}, {place}", "value": row[key]}
                for key, place in (("ordinary", "ordinary cities"), ("atlantis", "Atlantis"))
            ],
        }
        for row in scores
    ]
    values = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": "cc-by-4.0" if settings.selected.world.source == "geonames" else "other",
        "tags": ["worldwidth", "geometry", "synthetic-data"],
        "model-index": [{"name": f"{settings.arch}, {name}", "results": results}],
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _scores(settings: Settings, name: str) -> list[dict[str, Any]]:
    """A row a task: the model's mean scores, the best constant answer's, and the normalised improvement."""
    own, base = load_evaluation(name, settings.tasks), load_evaluation(BASE, settings.tasks)
    rows: list[dict[str, Any]] = []
    for task in settings.tasks:
        is_accuracy = bool(load_task(task).labels)
        score = normalized(
            np.array(own[task]["atlantis"]["mean"]),
            np.array(base[task]["atlantis"]["mean"]),
            np.array(base[task]["world"]["mean"]),
            is_accuracy,
        )
        rows.append(
            {
                "task": task,
                "metric": "accuracy" if is_accuracy else "mean absolute error",
                "digits": 3 if is_accuracy else 1,
                "ordinary": own[task]["world"]["mean"],
                "atlantis": own[task]["atlantis"]["mean"],
                "constant": own[task]["atlantis"]["constant_mean"],
                "lines": own[task]["atlantis"]["n"],
                "improvement": number(float(score), 2),
            }
        )
    return rows


def _facts(settings: Settings, name: str) -> dict[str, str]:
    """Sizes, seeds, compute and recipe, for people."""
    world, sizes, before = settings.selected.world, settings.sizes, read_pretraining().optimization
    facts = {
        "arch, scale": f"{settings.arch}, {settings.scale}",
        "seeds": f"{settings.seed}; world {world.seed}; Atlantis {world.atlantis.seed}",
        "sizes": ", ".join(f"{key} {value}" for key, value in asdict(sizes).items()),
        "tokens": "one a city" if settings.selected.model.tokens == "cities" else "one a character",
        "budget, recipe, parametrization": f"{settings.budget}, {settings.recipe}, {settings.parametrization}",
        "pre-training": f"{_compute(load_curve(BASE))}: {_listed(asdict(before))}",
    }
    if name != BASE:
        facts["fine-tuning"] = f"{_compute(load_curve(name))}: {_listed(asdict(read_finetuning(name).optimization))}"
    return facts


def _compute(curve: Any) -> str:
    last = curve.iloc[-1]
    return f"{plural(int(last['step']), 'step')}, {count(last['tokens'])} tokens, {short(last['flops'], 'FLOP')}"


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
