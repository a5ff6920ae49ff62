"""The same as `biomedjourney tune`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["tune", *sys.argv[1:]]))
