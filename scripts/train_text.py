"""The same as `biomedjourney train-text`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["train-text", *sys.argv[1:]]))
