"""The same as `biomedjourney journeys`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["journeys", *sys.argv[1:]]))
