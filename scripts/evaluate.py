"""The same as `biomedjourney evaluate`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
