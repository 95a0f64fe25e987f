"""What the matrix comes to for one arch: data/pretraining.json and data/finetuning.json, which the trainings read.

They hold what a training does, and not how params.yaml says it: whatever comes to the same recipe shares its models.
"""

from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_text, write_json
from worldwidth.settings.paths import FINETUNING, PRETRAINING
from worldwidth.settings.schema import Finetuning, Optimization, Sizes

_STRICT = ConfigDict(extra="forbid", strict=True)
_REMEDY = "run `dvc repro recipe`"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PretrainingRecipe:
    """Of the base model."""

    sizes: Sizes
    optimization: Optimization
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
    """Of every fine-tuned model."""

    optimization: Finetuning
    length: Length
    """Its own, or the reference's."""
    size_ratio: float
    """Weights of the model that ``length`` is of, over its own: so many times as many lines cost the same FLOPs."""
    width_ratio: float | None


Recipe = TypeVar("Recipe", PretrainingRecipe, FinetuningRecipe)


def save_recipes(pretraining: PretrainingRecipe, finetuning: FinetuningRecipe) -> None:
    """Write both files."""
    write_json(PRETRAINING, asdict(pretraining))
    write_json(FINETUNING, asdict(finetuning))


def read_pretraining() -> PretrainingRecipe:
    """What the stage ``recipe`` wrote for the base model.

    Raises:
        WorldwidthError: it is missing or not whole.
    """
    return _read(PretrainingRecipe, PRETRAINING)


def read_finetuning() -> FinetuningRecipe:
    """The same for the fine-tuned models."""
    return _read(FinetuningRecipe, FINETUNING)


def _read(kind: type[Recipe], path: Path) -> Recipe:
    try:
        return TypeAdapter(kind).validate_json(read_text(path))
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; {_REMEDY}") from None
    except (ValidationError, ValueError, OSError):
        raise WorldwidthError(f"{path}: not a whole recipe; {_REMEDY}") from None
