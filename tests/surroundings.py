"""When it is imported: what bends tests goes, as a user's shell, a git hook or a script with `&` has set it.

What a user may set and the program must bear stays: SHELL, the umask, the locale, folders with odd names.
"""

import os
import signal
import subprocess


def bends_results(name: str) -> bool:
    """Whether the variable says how git, DVC or Slurm work, or that this is a stage or a job."""
    of_a_hook = ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE", "GIT_EDITOR")
    return name.startswith(("DVC_", "SLURM_", "SBATCH_", "SQUEUE_")) or name in of_a_hook


_of_a_repository = subprocess.run(["git", "rev-parse", "--local-env-vars"], check=True, capture_output=True, text=True)
for _name in [*_of_a_repository.stdout.split(), *filter(bends_results, os.environ)]:
    os.environ.pop(_name, None)
for _who in ("AUTHOR", "COMMITTER"):
    os.environ |= {f"GIT_{_who}_NAME": "test", f"GIT_{_who}_EMAIL": "test@example.org"}
os.environ |= {
    "DVC_NO_ANALYTICS": "1",
    "DVC_GLOBAL_CONFIG_DIR": "/nonexistent",
    "DVC_SYSTEM_CONFIG_DIR": "/nonexistent",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what ends in & with Ctrl-C ignored

import worldwidth.plots  # noqa: E402, F401 - before a test imports matplotlib
