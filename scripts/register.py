"""The same as `biomedjourney register`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["register", *sys.argv[1:]]))
