"""The same as `biomedjourney export-weights`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["export-weights", *sys.argv[1:]]))
