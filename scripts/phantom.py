"""The same as `biomedjourney phantom`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["phantom", *sys.argv[1:]]))
