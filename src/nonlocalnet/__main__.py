"""`python -m nonlocalnet` is the command line."""

import sys

from nonlocalnet.cli.main import main

sys.exit(main())
