"""The same as `biomedjourney cohort`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["cohort", *sys.argv[1:]]))
