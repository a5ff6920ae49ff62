"""The same as `biomedjourney check-autoencoder`."""

import sys

from biomedjourney_monai.cli.main import main

sys.exit(main(["check-autoencoder", *sys.argv[1:]]))
