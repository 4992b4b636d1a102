"""`python -m widelimit`."""

import sys

from widelimit.cli import main

if __name__ == "__main__":
    sys.exit(main())
