"""Whoever imports a module of this package gets matplotlib as it is shipped, whatever a user has set.

matplotlib reads MPLBACKEND when it is imported, and the first of a matplotlibrc in the current folder, the one that
MATPLOTLIBRC names and the user's own. Nothing else of the project imports it (`make lint`).
"""

import os
from contextlib import chdir
from pathlib import Path

os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
with chdir(Path(__file__).parent):
    import matplotlib  # noqa: F401
