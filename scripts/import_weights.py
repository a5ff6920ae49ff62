"""The same as `biomedjourney import-weights`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["import-weights", *sys.argv[1:]]))
