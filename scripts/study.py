"""The same as `biomedjourney study`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["study", *sys.argv[1:]]))
