"""The same as `biomedjourney encode`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["encode", *sys.argv[1:]]))
