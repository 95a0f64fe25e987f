"""params.yaml as frozen dataclasses: every setting of the study, its type and its range."""

from dataclasses import field, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, JsonValue
from pydantic.dataclasses import dataclass

from worldwidth.settings.cluster import Cluster, Execution
from worldwidth.settings.questions import Analysis, Sweep, Tuning
from worldwidth.settings.values import Count, CountOrZero, Name, Positive

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Beta = Annotated[float, Field(ge=0, lt=1)]
Range = tuple[Annotated[int, Field(ge=1, le=12)], Annotated[int, Field(ge=1, le=12)]]
Threads = Annotated[int, Field(ge=1, le=1024)]
Budget = Literal["epochs", "tokens", "flops"]
FinetuningBudget = Literal["epochs", "flops"]
Parametrization = Literal["standard", "mup"]
Trainable = Literal["all", "new_embeddings"]
Colours = Literal["RdYlGn", "cividis", "RdYlBu"]
COLOURS: tuple[str, ...] = get_args(Colours)
Overrides = dict[str, JsonValue]
TaskName = Name
ModelName = Annotated[str, Field(pattern="^(ftwb|plug)[0-9]-[0-9a-z]{1,32}$")]
DEFAULT = "default"
"""The recipe that is a scale's own."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Atlantis:
    """The new entities: cities drawn around one point, never seen in pre-training."""

    cities: Annotated[int, Field(ge=2, le=999)]
    center: tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]]
    """Longitude and latitude of the middle, in degrees."""
    std: Positive
    """Standard deviation of both coordinates, in degrees."""
    seed: CountOrZero
    """Draws where its cities lie and the queries about them. Base models do not depend on it."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class World:
    """Which cities there are and where they lie on the flat plane."""

    source: Annotated[str, Field(min_length=1)]
    """``geonames`` (the packaged list) or the path of a list in a layout of GeoNames, in the project's folder."""
    cities: Annotated[int, Field(ge=10, le=30_000)]
    """How many of the most populous cities are taken."""
    min_population: CountOrZero
    units_per_degree: Annotated[int, Field(ge=1, le=100)]
    """The plane's unit: 10 makes it 0.1 degree, 1 whole degrees."""
    id_digits: Annotated[int, Field(ge=1, le=6)]
    atlantis: Atlantis
    seed: CountOrZero
    """Draws the ids of all cities and the queries about ordinary ones. The top-level seed does not touch them."""


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
    """What all archs share; of layers an arch may have its own number."""

    num_hidden_layers: Annotated[int, Field(ge=1, le=96)]
    initializer_range: Positive
    rms_norm_eps: Positive
    rope_theta: Positive
    tokens: Literal["characters", "cities"]
    """``characters``: one token a character. ``cities``: the group c_0123 is one token."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Sizes:
    """What of an architecture fixes the shapes of its weights."""

    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_hidden_layers: int


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Arch:
    """One architecture, and what of the scale's training it does otherwise."""

    hidden_size: Annotated[int, Field(ge=4, le=16_384)]
    intermediate_size: Annotated[int, Field(ge=4, le=65_536)]
    num_attention_heads: Annotated[int, Field(ge=1, le=256)]
    num_hidden_layers: Annotated[int, Field(ge=1, le=96)] | None = None
    """Where it is not that of ``model``."""
    epochs: Count
    """Passes over the pre-training data under ``budget: epochs``."""
    pretraining: Overrides = field(default_factory=dict)
    """Keys of the scale's ``pretraining`` with this arch's own values, as a learning rate."""
    finetuning: Overrides = field(default_factory=dict)
    """The same of ``finetuning``."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Optimization:
    """One training run's optimiser, schedule and bookkeeping."""

    optimizer: Literal["adamw", "muon"]
    """``muon`` orthogonalises the layers' matrices and leaves the rest to AdamW."""
    learning_rate: Positive
    body_ratio: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Rate of all weights but the input embedding, over the embedding's, which is ``learning_rate``; at 0 they stay
    as they are."""
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
class Pretraining(Optimization):
    """Pre-training: the optimisation, and what it is about."""

    atlantis: bool
    """Whether the training lines about Atlantis are in it, beside those about real cities: the ceiling."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Finetuning(Optimization):
    """Fine-tuning: the optimisation and the mixture (per trained task; warm-up lines per task of the study)."""

    trainable: Trainable = "all"
    """Which weights move: all, or only the rows of the input embedding of cities that pre-training never saw."""
    epochs: Count
    world_lines: CountOrZero
    atlantis_lines: Count
    warmup_lines: CountOrZero


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Recipe:
    """Another way to fine-tune than the scale's own."""

    finetuning: Overrides = field(default_factory=dict)
    """Keys of the scale's ``finetuning`` with other values, for all archs, whatever an arch has of its own."""
    learning_rates: dict[Name, Positive] = field(default_factory=dict)
    """Arch -> its rate of fine-tuning under this recipe, where it has one of its own."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Evaluation:
    """How the test sets are decoded."""

    split: Literal["test", "validation"] = "test"
    """Which lines are scored; ``validation`` is for tuning, which must not see the test lines."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    multitask_lines: Count
    """Lines, drawn from all ordinary ones of the split, that make the multi-task evaluation."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Statistics:
    """How uncertainty is computed."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    """Bootstrap resamples over test lines."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Hardware:
    """What the stages run on: tracked, for it can change a result's last bits. ``auto`` is tracked as that word."""

    device: Literal["auto", "cpu", "cuda"]
    """``auto``: an NVIDIA GPU where torch sees one, else the CPU. Apple's GPU (MPS) is not used."""
    engine: Literal["auto", "native", "torch"] = "auto"
    """What computes on a CPU: ``auto`` is the native step where it can be built, else torch. A GPU always has torch."""
    precision: Literal["auto", "float32", "bfloat16"]
    """Of training's matrix products: ``auto`` is bfloat16 on a GPU, float32 on a CPU. Evaluations are float32."""
    threads: Threads
    """CPU threads of a fine-tune and of an evaluation; several of these can run side by side."""
    pretraining_threads: Threads
    """CPU threads of pre-training, which nothing can run beside."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Scale:
    """How big everything is."""

    world: World
    corpus: Corpus
    model: Model
    archs: Annotated[dict[Name, Arch], Field(min_length=1, max_length=64)]
    pretraining: Pretraining
    finetuning: Finetuning
    recipes: Annotated[dict[Name, Recipe], Field(max_length=64)]
    """Name -> another way to fine-tune, which the top-level ``recipe`` selects."""
    plug_in: Overrides
    """Keys of ``finetuning`` with other values in the models ``plug...``, which learn new entities on a frozen map."""
    evaluation: Evaluation
    statistics: Statistics
    hardware: Hardware
    execution: Execution
    tuning: Tuning | None = None

    def pretraining_of(self, arch: str) -> Pretraining:
        """Pre-training with what ``arch`` does otherwise.

        Raises:
            ValidationError: it overrides what is no setting, or with a value that cannot be.
        """
        return replace(self.pretraining, **_strict(self.archs[arch].pretraining))

    def finetuning_of(self, arch: str, recipe: str = DEFAULT) -> Finetuning:
        """The same of fine-tuning by a recipe."""
        changes = {**self.archs[arch].finetuning}
        if recipe != DEFAULT:
            other = self.recipes[recipe]
            changes |= other.finetuning
            changes |= {"learning_rate": other.learning_rates[arch]} if arch in other.learning_rates else {}
        return replace(self.finetuning, **_strict(changes))

    def plug_in_of(self, arch: str, recipe: str = DEFAULT) -> Finetuning:
        """The same of the models ``plug...``."""
        return replace(self.finetuning_of(arch, recipe), **_strict(self.plug_in))

    def sizes_of(self, arch: Arch) -> Sizes:
        """The sizes of ``arch``."""
        return Sizes(
            hidden_size=arch.hidden_size,
            intermediate_size=arch.intermediate_size,
            num_attention_heads=arch.num_attention_heads,
            num_hidden_layers=arch.num_hidden_layers or self.model.num_hidden_layers,
        )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Settings:
    """The experiment matrix."""

    arch: str
    scale: str
    seed: CountOrZero
    recipe: str
    """How models are fine-tuned: ``default`` is the scale's own way, others are in its ``recipes``."""
    budget: Budget
    """What rules the length of pre-training: each arch's own ``epochs``, or the tokens or FLOPs of ``reference``."""
    finetuning_budget: FinetuningBudget
    """What rules the length of fine-tuning: each arch's ``finetuning.epochs``, or the FLOPs of ``reference``."""
    reference: str
    """The arch whose tokens or FLOPs the others get, and the base width of ``mup``."""
    parametrization: Parametrization
    """``standard``: one rate and one initial spread for all widths. ``mup``: those of the layers' matrices and the
    output head fall with the width over that of ``reference`` (arXiv 2203.03466)."""
    tasks: Annotated[tuple[TaskName, ...], Field(min_length=2, max_length=32)]
    finetunes: Annotated[dict[ModelName, tuple[TaskName, ...]], Field(min_length=1)]
    sweeps: Annotated[dict[Name, Sweep], Field(max_length=64)] = field(default_factory=dict)
    """Name -> the runs of `worldwidth sweep NAME`."""
    analysis: Analysis | None = None
    colours: Colours
    """Of scores in matrices: ``RdYlGn`` as published; ``cividis`` and ``RdYlBu`` for colour-blind readers, too."""
    scales: Annotated[dict[Name, Scale], Field(min_length=1, max_length=64)]
    cluster: Cluster = Cluster()

    @property
    def selected(self) -> Scale:
        """The scale that ``scale`` names."""
        return self.scales[self.scale]

    @property
    def selected_arch(self) -> Arch:
        """The architecture that ``arch`` names, at the selected scale."""
        return self.selected.archs[self.arch]

    @property
    def sizes(self) -> Sizes:
        """Those of the selected arch."""
        return self.selected.sizes_of(self.selected_arch)

    @property
    def pretraining(self) -> Pretraining:
        """Pre-training of the selected arch."""
        return self.selected.pretraining_of(self.arch)

    @property
    def finetuning(self) -> Finetuning:
        """Fine-tuning of the selected arch by the selected recipe."""
        return self.selected.finetuning_of(self.arch, self.recipe)

    @property
    def plug_in(self) -> Finetuning:
        """The same of the models ``plug...``."""
        return self.selected.plug_in_of(self.arch, self.recipe)

    def finetuning_for(self, model: str) -> Finetuning:
        """That of a fine-tuned model."""
        return self.plug_in if is_plug_in(model) else self.finetuning

    @property
    def models(self) -> tuple[str, ...]:
        """Names of all models of one arch: the base model, then the fine-tuned ones."""
        return ("base", *self.finetunes)


def is_plug_in(model: str) -> bool:
    """Whether a model learns new entities on a frozen map."""
    return model.startswith("plug")


def finetuned(settings: Settings) -> tuple[str, ...]:
    """The fine-tuned models without those that learn new entities on a frozen map."""
    return tuple(model for model in settings.finetunes if not is_plug_in(model))


def _strict(overrides: Overrides) -> dict[str, Any]:
    """JSON values as the fields of frozen models have them: lists are tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in overrides.items()}
