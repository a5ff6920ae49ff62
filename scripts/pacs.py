"""The same as `biomedjourney pacs`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["pacs", *sys.argv[1:]]))
