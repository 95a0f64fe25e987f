"""What the matrix comes to for one arch, as the trainings read it: pretraining, finetuning and plug_in.json in data/.

They hold what a training does, and not how params.yaml says it: whatever comes to the same recipe shares its models.
"""

from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_text, write_json
from worldwidth.settings.paths import FINETUNING, PLUG_IN, PRETRAINING
from worldwidth.settings.schema import Finetuning, Pretraining, Sizes, is_plug_in

_STRICT = ConfigDict(extra="forbid", strict=True)
_REMEDY = "run `dvc repro recipe`"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PretrainingRecipe:
    """Of the base model."""

    sizes: Sizes
    optimization: Pretraining
    steps: int
    width_ratio: float | None
    """Under ``mup``: its width over that of the reference."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Length:
    """What of a fine-tuning tells how many lines it reads."""

    epochs: int
    batch_size: int
    world_lines: int
    atlantis_lines: int
    warmup_lines: int

    @classmethod
    def of(cls, finetuning: Finetuning) -> "Length":
        """That of ``finetuning``."""
        return cls(**{field.name: getattr(finetuning, field.name) for field in fields(cls)})


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FinetuningRecipe:
    """Of the fine-tuned models, or of those that learn new entities on a frozen map."""

    optimization: Finetuning
    length: Length
    """Its own, or the reference's."""
    size_ratio: float
    """Weights of the model that ``length`` is of, over its own: so many times as many lines cost the same FLOPs."""
    width_ratio: float | None


Recipe = TypeVar("Recipe", PretrainingRecipe, FinetuningRecipe)


def save_recipes(pretraining: PretrainingRecipe, finetuning: FinetuningRecipe, plug_in: FinetuningRecipe) -> None:
    """Write the three files."""
    for path, recipe in ((PRETRAINING, pretraining), (FINETUNING, finetuning), (PLUG_IN, plug_in)):
        write_json(path, asdict(recipe))


def read_pretraining() -> PretrainingRecipe:
    """What the stage ``recipe`` wrote for the base model.

    Raises:
        WorldwidthError: it is missing or not whole.
    """
    return _read(PretrainingRecipe, PRETRAINING)


def read_finetuning(model: str) -> FinetuningRecipe:
    """The same for a fine-tuned model."""
    return _read(FinetuningRecipe, PLUG_IN if is_plug_in(model) else FINETUNING)


def _read(kind: type[Recipe], path: Path) -> Recipe:
    try:
        return TypeAdapter(kind).validate_json(read_text(path))
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; {_REMEDY}") from None
    except (ValidationError, ValueError, OSError):
        raise WorldwidthError(f"{path}: not a whole recipe; {_REMEDY}") from None
