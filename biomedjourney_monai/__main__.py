"""`python -m biomedjourney_monai VERB ...` is the `biomedjourney` command."""

import sys


def main() -> int:
    """Run the command line. An interrupt while Python still imports it ends in one line, too."""
    try:
        from biomedjourney_monai.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
