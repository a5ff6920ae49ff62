"""The same as `biomedjourney sample`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["sample", *sys.argv[1:]]))
