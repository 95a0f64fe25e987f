"""`make doctor`: the same as `worldwidth doctor`, for an environment in which that cannot start."""

import sys

if not sys.version_info >= (3, 11):  # the rest cannot even be read by an older one
    found = "{}.{}".format(*sys.version_info)
    print(
        f"worldwidth: Python {found} is too old, 3.11 or newer is needed: `make PYTHON=python3.12 env`", file=sys.stderr
    )
    sys.exit(2)

from worldwidth.core.command import exit_codes

from worldwidth.doctor.examination import run_doctor

if __name__ == "__main__":
    with exit_codes():
        run_doctor(as_json="--json" in sys.argv)
