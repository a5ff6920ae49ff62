"""The same as `biomedjourney report`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["report", *sys.argv[1:]]))
