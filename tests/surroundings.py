"""When it is imported: what a user's shell or a git hook has set goes, and git gets a name for commits."""

import os
import subprocess


def bends_results(name: str) -> bool:
    """Whether the variable says how git, DVC, Slurm or matplotlib work, or that this is a stage or a job."""
    of_a_hook, of_matplotlib = ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE", "GIT_EDITOR"), ("MPLBACKEND", "MATPLOTLIBRC")
    return name.startswith(("DVC_", "SLURM_", "SBATCH_", "SQUEUE_")) or name in (*of_a_hook, *of_matplotlib)


_of_a_repository = subprocess.run(["git", "rev-parse", "--local-env-vars"], check=True, capture_output=True, text=True)
for _name in [*_of_a_repository.stdout.split(), *filter(bends_results, os.environ)]:
    os.environ.pop(_name, None)
for _who in ("AUTHOR", "COMMITTER"):
    os.environ |= {f"GIT_{_who}_NAME": "test", f"GIT_{_who}_EMAIL": "test@example.org"}
os.environ["DVC_NO_ANALYTICS"] = "1"
