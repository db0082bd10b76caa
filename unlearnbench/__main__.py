"""`python -m unlearnbench`: the command line, also where no script of that name is on the path."""

import sys

from unlearnbench.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
