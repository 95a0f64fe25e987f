"""Where every file of a study lies, below the project's folder. No path names the arch: DVC swaps the contents."""

from pathlib import Path

CITIES = Path("data/cities.csv")
SCHEDULE = Path("data/schedule.json")
CORPORA = Path("data/corpora")
MODELS = Path("models")
CURVES = Path("results/training")
EVALUATIONS = Path("results/evaluations")
SCORES = Path("results/scores")

# small, and in git
SUMMARY = Path("results/summary.json")
MATRICES = Path("results/matrices.csv")
EVALUATION_TABLE = Path("results/evaluations.csv")
TRAINING_TABLE = Path("results/training.csv")
PLOTS = Path("plots")

# beside the pipeline: neither in git nor in DVC
PARTIAL = Path("partial")
TIMINGS = Path("timings")

POPULATIONS = ("world", "atlantis")
SPLITS = ("train", "validation", "test")


def stage_of(model: str) -> str:
    """The DVC stage that makes a model: base -> base, ftwb2-12 -> ftwb2@12."""
    return model.replace("-", "@", 1)
