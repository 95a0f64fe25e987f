"""When it is imported: what a user's shell or a git hook has set goes, and git gets a name for commits."""

import os

from worldwidth.core.git import leave_other_repositories


def bends_results(name: str) -> bool:
    """Whether the variable says how git, DVC, Slurm or matplotlib work, or that this is a stage or a job."""
    of_a_hook, of_matplotlib = ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE", "GIT_EDITOR"), ("MPLBACKEND", "MATPLOTLIBRC")
    return name.startswith(("DVC_", "SLURM_", "SBATCH_", "SQUEUE_")) or name in (*of_a_hook, *of_matplotlib)


leave_other_repositories()
for _name in filter(bends_results, list(os.environ)):
    os.environ.pop(_name, None)
for _who in ("AUTHOR", "COMMITTER"):
    os.environ |= {f"GIT_{_who}_NAME": "test", f"GIT_{_who}_EMAIL": "test@example.org"}
os.environ["DVC_NO_ANALYTICS"] = "1"
