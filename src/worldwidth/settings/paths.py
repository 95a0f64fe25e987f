"""Where every file of a study lies, below the project's folder. No path names the arch: DVC swaps the contents."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")

CITIES = Path("data/cities.csv")
ATLANTIS_CITIES = Path("data/atlantis.csv")
PRETRAINING = Path("data/pretraining.json")
FINETUNING = Path("data/finetuning.json")
PLUG_IN = Path("data/plug_in.json")
CORPORA = Path("data/corpora")
ATLANTIS_CORPORA = Path("data/atlantis")
ADDED_CORPORA = Path("data/added")
MODELS = Path("models")
CURVES = Path("results/training")
EVALUATIONS = Path("results/evaluations")
SCORES = Path("results/scores")
REPRESENTATIONS = Path("results/representations")

# small, and in git
SUMMARY = Path("results/summary.json")
MATRICES = Path("results/matrices.csv")
EVALUATION_TABLE = Path("results/evaluations.csv")
TRAINING_TABLE = Path("results/training.csv")
REPRESENTATION_TABLE = Path("results/representations.csv")
REPRESENTATION_SUMMARY = Path("results/representations.json")
PLOTS = Path("plots")
COORDINATES = Path("results/coordinates")  # of no stage: `worldwidth coordinates` writes it

# beside the pipeline: neither in git nor in DVC
PARTIAL = Path("partial")
TIMINGS = Path("timings")


def scratch_folder() -> Path:
    """Where things outside DVC's outs are kept: below .dvc/tmp of the main checkout, also in a temporary run."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".dvc" / "tmp" / "worldwidth"
