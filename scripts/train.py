"""The same as `biomedjourney train`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["train", *sys.argv[1:]]))
