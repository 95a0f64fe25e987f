"""params.yaml as frozen dataclasses: every setting of the study, its type and its range.

``load()`` is the only reader of params.yaml. An unknown key, a wrong type or an impossible value is
one line that names the path in the file, what was found, what is allowed and the nearest valid name.
"""

import dataclasses
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from worldwidth.cluster import Cluster, Jobs
from worldwidth.errors import WorldwidthError, nearest
from worldwidth.strict_yaml import excerpt, read_yaml

PARAMS = Path("params.yaml")
_LARGEST = 2**20  # characters: a hundred times the file with its three scales

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1, le=10**9)]
CountOrZero = Annotated[int, Field(ge=0, le=10**9)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Range = tuple[Annotated[int, Field(ge=1, le=12)], Annotated[int, Field(ge=1, le=12)]]
Threads = Annotated[int, Field(ge=1, le=1024)]
Budget = Literal["epochs", "tokens", "flops"]
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,31}$")]  # part of names of files, stages and git refs
TaskName = Name
ModelName = Annotated[str, Field(pattern="^ftwb[1-9]-[0-9a-z]{1,32}$")]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Atlantis:
    """The new entities: cities drawn around one point, never seen in pre-training."""

    cities: Annotated[int, Field(ge=2, le=999)]
    center: tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]]
    """Longitude and latitude of the middle, in degrees."""
    std: Positive
    """Standard deviation of both coordinates, in degrees."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class World:
    """Which cities there are and where they lie on the flat plane."""

    source: Annotated[str, Field(min_length=1)]
    """``geonames`` (the packaged list) or the path of a GeoNames CSV export in the project's folder."""
    cities: Annotated[int, Field(ge=10, le=30_000)]
    """How many of the most populous cities are taken."""
    min_population: CountOrZero
    units_per_degree: Annotated[int, Field(ge=1, le=100)]
    """The plane's unit: 10 makes it 0.1 degree, 1 whole degrees."""
    id_digits: Annotated[int, Field(ge=1, le=6)]
    atlantis: Atlantis
    seed: CountOrZero
    """Seeds the world and its queries. The top-level seed does not touch them."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Lines:
    """Lines per task and population."""

    train: Count
    validation: Count
    test: Count


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Corpus:
    """How many lines there are, and how large the queries of the variable-size tasks are."""

    world: Lines
    atlantis: Lines
    hull_cities: Range
    """inside: fewest and most cities that span the hull."""
    tour_cities: Range
    """perimeter: fewest and most cities on the tour."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Model:
    """What all widths share."""

    num_hidden_layers: Annotated[int, Field(ge=1, le=96)]
    initializer_range: Positive
    rms_norm_eps: Positive
    rope_theta: Positive
    tokens: Literal["characters", "cities"]
    """``characters``: one token a character. ``cities``: the group c_0123 is one token."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Arch:
    """One width variant."""

    hidden_size: Annotated[int, Field(ge=4, le=16_384)]
    intermediate_size: Annotated[int, Field(ge=4, le=65_536)]
    num_attention_heads: Annotated[int, Field(ge=1, le=256)]
    epochs: Count
    """Passes over the pre-training data under ``budget: epochs``."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Optimization:
    """One training run's optimiser, schedule and bookkeeping."""

    optimizer: Literal["adamw", "muon"]
    """``muon`` orthogonalises the layers' matrices and leaves the rest to AdamW."""
    learning_rate: Positive
    betas: tuple[Beta, Beta]
    epsilon: Positive
    weight_decay: Annotated[float, Field(ge=0, le=10)]
    max_grad_norm: Positive
    warmup_steps: CountOrZero
    decay_fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of the steps after warm-up over which the rate falls linearly to 0; 1 is the published schedule."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    """Lines a step."""
    loss: Literal["all", "answer"]
    """Which tokens the loss counts: all real ones, or those after '='."""
    checkpoints: Annotated[int, Field(ge=0, le=1000)]
    """Checkpoints kept on the way, log-spaced, beside step 0 and the final model."""
    log_every: Count
    """Steps between two rows of the training curve."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Finetuning(Optimization):
    """Fine-tuning: the optimisation and the mixture (per trained task; warm-up lines per task of the study)."""

    epochs: Count
    world_lines: CountOrZero
    atlantis_lines: Count
    warmup_lines: CountOrZero


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Evaluation:
    """How the test sets are decoded."""

    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    multitask_lines: Count
    """Lines of the pooled world test sets that make the multi-task evaluation."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Statistics:
    """How uncertainty is computed."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    """Bootstrap resamples over test lines."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Hardware:
    """What the stages run on: tracked, for it can change a result's last bits. ``auto`` is tracked as that word."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "float32", "bfloat16"]
    """Of training's matrix products: ``auto`` is bfloat16 on a GPU, float32 on a CPU. Evaluations are float32."""
    threads: Threads
    """CPU threads of a fine-tune and of an evaluation; several of these can run side by side."""
    pretraining_threads: Threads
    """CPU threads of pre-training, which nothing can run beside."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Execution:
    """How the stages are run: not tracked, for it changes no result."""

    models_per_job: Count
    """Fine-tuned models that one job trains and evaluates: in one process, and on a GPU as one stacked model."""
    resume_seconds: Annotated[float, Field(ge=0, le=86_400)] = 10
    """Seconds between two savings of a training run's state, from which it goes on after a kill. More where saving
    would take over a hundredth of the time."""
    jobs: Jobs = Jobs()
    """What the jobs of `make slurm` ask for."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Scale:
    """How big everything is."""

    world: World
    corpus: Corpus
    model: Model
    archs: Annotated[dict[Name, Arch], Field(min_length=1, max_length=64)]
    pretraining: Optimization
    finetuning: Finetuning
    evaluation: Evaluation
    statistics: Statistics
    hardware: Hardware
    execution: Execution


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Matrix:
    """The experiment matrix."""

    arch: str
    scale: str
    seed: CountOrZero
    budget: Budget
    """What rules the length of pre-training: each width's own ``epochs``, or the tokens or FLOPs of ``reference``."""
    reference: str
    """The width whose tokens or FLOPs the others get."""
    tasks: Annotated[tuple[TaskName, ...], Field(min_length=2, max_length=32)]
    finetunes: Annotated[dict[ModelName, Annotated[tuple[TaskName, ...], Field(min_length=1)]], Field(min_length=1)]
    scales: Annotated[dict[Name, Scale], Field(min_length=1, max_length=64)]
    cluster: Cluster = Cluster()

    @property
    def selected(self) -> Scale:
        """The scale that ``scale`` names."""
        return self.scales[self.scale]

    @property
    def selected_arch(self) -> Arch:
        """The width that ``arch`` names, at the selected scale."""
        return self.selected.archs[self.arch]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of all models of one width: the base model, then the fine-tuned ones."""
        return ("base", *self.finetunes)


def load(path: Path = PARAMS) -> Matrix:
    """Read and validate the whole of ``path``.

    Raises:
        WorldwidthError: one line: file, path in it, what was found, what is allowed, nearest name.
    """
    from worldwidth.matrix_rules import check  # the rules that span several keys

    values = read_yaml(path, _LARGEST)
    if not isinstance(values, dict):
        found = "nothing" if values is None else excerpt(json.dumps(values, ensure_ascii=False))
        raise WorldwidthError(f"{path}: the top level: found {found}; it must be a mapping")
    try:
        # JSON is the only form in which pydantic is strict and still takes a list for a tuple.
        matrix = TypeAdapter(Matrix).validate_json(json.dumps(values))
    except ValidationError as error:
        raise WorldwidthError(f"{path}: {_describe(error)}") from None
    problem = check(matrix)
    if problem:
        raise WorldwidthError(f"{path}: {problem}")
    return matrix


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of params.yaml, for editors."""
    schema = TypeAdapter(Matrix).json_schema()
    for node in _mappings(schema):
        if "patternProperties" in node:  # pydantic leaves other names open there; load() does not
            node["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _mappings(node: Any) -> Iterator[dict[str, Any]]:
    """All mappings inside a JSON value."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _mappings(child)


def _describe(errors: ValidationError) -> str:
    """Turn pydantic's errors into one line: path, what was found, what is allowed, nearest name.

    A misspelt key is both unknown and missing; the unknown one tells more.
    """
    found_errors: list[Any] = list(errors.errors())
    error = next((e for e in found_errors if e["type"] == "unexpected_keyword_argument"), found_errors[0])
    kind, location = error["type"], [str(part) for part in error["loc"] if part != "[key]"]
    path = ".".join(map(excerpt, location)) or "the top level"
    if kind == "json_invalid":
        return "holds text that is not valid Unicode"
    found = excerpt(json.dumps(error["input"], ensure_ascii=False))
    if kind == "unexpected_keyword_argument":
        allowed = _keys_at(location[:-1])
        return f"{path}: unknown key; allowed here: {', '.join(allowed)}{nearest(location[-1], allowed)}"
    if kind in ("missing", "missing_keyword_only_argument"):
        return f"{path}: missing; it must be set"
    if "[key]" in error["loc"]:
        return f"{path}: not a valid name here; it must match {error['ctx']['pattern']}"
    if kind == "literal_error":
        allowed = [part.strip(" '") for part in error["ctx"]["expected"].replace(" or ", ",").split(",")]
        return f"{path}: found {found}; allowed: {', '.join(allowed)}{nearest(str(error['input']), allowed)}"
    rule = re.sub(r"^\w+ should ", "", error["msg"])
    for term, plain in (("an object", "a mapping"), ("a valid array", "a list"), (" after validation", "")):
        rule = rule.replace(term, plain)
    return f"{path}: found {found}; it must {rule}"


def _keys_at(location: list[str]) -> list[str]:
    """Names of the settings allowed below ``location``, found by walking the dataclasses."""
    kind: Any = Matrix
    for part in location:
        if dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind)[part]
        elif typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
