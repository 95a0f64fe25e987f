"""What every quantity is called, in tables, figures and the report: one name each, and docs/glossary.md explains it."""

from worldwidth.core.text import MINUS

IMPROVEMENT = "normalised improvement"
SKILL = "skill"
LOG_SKILL = "log skill"
BASE_SKILL = "base skill"
GAIN = "gain"
RETENTION = "retention"
CONTROL = "control"
TRAINED = "trained"
TRANSFER = "transfer"
PARAMETERS = "parameters"
PRETRAINING_FLOPS = "pre-training FLOPs"
FINETUNING_FLOPS = "fine-tuning FLOPs"
TOTAL_FLOPS = "total FLOPs"
TOKENS = "training tokens"
LOSS = "loss (nats a token)"

LABELS = (
    IMPROVEMENT, SKILL, LOG_SKILL, BASE_SKILL, GAIN, RETENTION, CONTROL, TRAINED, TRANSFER, PARAMETERS,
    PRETRAINING_FLOPS, FINETUNING_FLOPS, TOTAL_FLOPS, TOKENS, LOSS,
)  # fmt: skip


def of_cells(what: str, trained: bool) -> str:
    """A quantity in the tasks trained, or in the others: ``skill transfer``."""
    return f"{what} {TRAINED if trained else TRANSFER}"


def over_control(what: str) -> str:
    """A quantity in tasks not trained, above the control's there: ``skill`` minus ``control``."""
    return f"{what} {MINUS} {CONTROL}"
