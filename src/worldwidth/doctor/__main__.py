"""`make doctor`: the same as `worldwidth doctor`, for an environment in which that cannot start."""

from worldwidth.core.command import exit_codes

import argparse

from worldwidth import doctor
from worldwidth.doctor.examination import run_doctor


def main() -> None:
    """Parse the command line and examine the current folder. Exits with 2 if there is a problem."""
    parser = argparse.ArgumentParser(prog="python -m worldwidth.doctor", description=doctor.__doc__)
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    with exit_codes():
        run_doctor(parser.parse_args().json)


if __name__ == "__main__":
    main()
