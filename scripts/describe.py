"""The same as `biomedjourney describe`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["describe", *sys.argv[1:]]))
