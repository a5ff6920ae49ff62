"""`python -m biomedjourney_monai VERB ...` is the `biomedjourney` command."""

from __future__ import annotations

import sys

from biomedjourney_monai.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
