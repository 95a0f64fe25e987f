"""Fine-tuning models of params.yaml: one, or several in one process that share what they read."""

from collections.abc import Iterator

from worldwidth.core.errors import WorldwidthError
from worldwidth.data.corpus import StoredCorpus
from worldwidth.model.checkpoint import copy_tokenizer, load_model
from worldwidth.model.layout import DecoderConfig
from worldwidth.native.compute import compute_of
from worldwidth.settings.compute import finetuning_steps, new_rows
from worldwidth.settings.paths import MODELS
from worldwidth.settings.recipe import FinetuningRecipe, read_finetuning
from worldwidth.settings.schema import Settings
from worldwidth.training.mixture import finetuning_mixture, validation_mixture
from worldwidth.training.publish import train_and_publish
from worldwidth.training.run import Run


def finetune(settings: Settings, names: list[str]) -> Iterator[str]:
    """Fine-tune ``names`` from the base model and write their files; yield each name once that is done.

    On a GPU they are trained as one stacked model. On a CPU, where stacking is slower, one after
    another: then the files are, byte for byte, those of separate processes.

    Raises:
        WorldwidthError, OSError: a run diverged or could not be written; raised when the others are done.
    """
    recipes = {name: read_finetuning(name) for name in names}
    resume_seconds = settings.selected.execution.resume_seconds
    compute = compute_of(settings.selected.hardware, settings.selected.hardware.threads)
    expected = DecoderConfig.of(settings.selected, settings.sizes)
    config, base = load_model(MODELS / "base", "run `dvc repro base`", expected)
    corpora = {task: StoredCorpus(task) for task in settings.tasks}

    def run(name: str) -> Run:
        recipe = recipes[name]
        return Run(
            name=name,
            mixture=finetuning_mixture(corpora, settings.finetunes[name], recipe.optimization),
            validation=validation_mixture(corpora, settings.finetunes[name] or settings.tasks, "atlantis"),
            optimization=recipe.optimization,
            steps=finetuning_steps(recipe, len(settings.finetunes[name]), len(settings.tasks)),
            seed=settings.seed,
            compute=compute,
            width_ratio=recipe.width_ratio,
            new_rows=new_rows(settings.selected),
        )

    errors: list[WorldwidthError | OSError] = []
    for group in _groups(recipes) if compute.device == "cuda" else [[name] for name in names]:
        runs = [run(name) for name in group]
        try:
            yield from train_and_publish(config, base, runs, copy_tokenizer(MODELS / "base"), resume_seconds)
        except (WorldwidthError, OSError) as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _groups(recipes: dict[str, FinetuningRecipe]) -> list[list[str]]:
    """Models of one recipe, which can be trained as one stacked model."""
    found: dict[str, list[str]] = {}
    for name, recipe in recipes.items():
        found.setdefault(repr(recipe), []).append(name)
    return list(found.values())
