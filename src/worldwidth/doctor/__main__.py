"""`make doctor`: the same as `worldwidth doctor`, for an environment in which that cannot start."""

from worldwidth.core.command import exit_codes

import sys

from worldwidth.doctor.examination import run_doctor

if __name__ == "__main__":
    with exit_codes():
        run_doctor(as_json="--json" in sys.argv)
