"""The same as `biomedjourney app`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["app", *sys.argv[1:]]))
