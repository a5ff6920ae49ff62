"""The same as `biomedjourney train-judges`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["train-judges", *sys.argv[1:]]))
