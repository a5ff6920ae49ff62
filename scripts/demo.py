"""The same as `biomedjourney demo`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["demo", *sys.argv[1:]]))
