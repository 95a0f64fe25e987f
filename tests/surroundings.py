"""Drops, when it is imported, what a user's shell or a git hook has set and no test may follow."""

import os
import subprocess


def bends_results(name: str) -> bool:
    """Whether the variable says how git, DVC, Slurm or matplotlib work, or that this is a stage or a job."""
    return name.startswith(("DVC_", "SLURM_", "SBATCH_", "SQUEUE_")) or name in ("MPLBACKEND", "MATPLOTLIBRC")


_of_a_repository = subprocess.run(["git", "rev-parse", "--local-env-vars"], check=True, capture_output=True, text=True)
for name in [*_of_a_repository.stdout.split(), *filter(bends_results, os.environ)]:
    os.environ.pop(name, None)
os.environ["DVC_NO_ANALYTICS"] = "1"
