"""The same as `biomedjourney ladder`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["ladder", *sys.argv[1:]]))
