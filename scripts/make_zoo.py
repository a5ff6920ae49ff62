"""Write the bundle as MONAI Model Zoo ships bundles: self-contained, with the package's code inside it.

    python scripts/make_zoo.py zoo/biomedjourney [--url ADDRESS]

The folder needs MONAI and the packages of its metadata.json, not this project. Put it on the path, as for any bundle of
the zoo with code of its own: `PYTHONPATH=zoo/biomedjourney`. A file over 25 MB, which the zoo does not take, must be
downloadable below --url; it is listed in large_files.yml.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import yaml

import biomedjourney_monai
from biomedjourney_monai.errors import BiomedJourneyError, ConfigError
from biomedjourney_monai.files import file_hash
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors

PACKAGE = Path(biomedjourney_monai.__file__).parent
BUNDLE = PACKAGE.parent / "bundle"
LARGEST = 25_000_000
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "_bundle", "eval")


def make_zoo(folder: Path, *, url: str | None = None) -> list[str]:
    """Write the folder; returns the files that are over the zoo's limit.

    Raises:
        ConfigError: if the folder exists, or if there are such files and no address of them.
    """
    if folder.exists():
        raise ConfigError("the zoo folder must be new", found=f"{folder}", action="Remove it, or choose another")
    shutil.copytree(BUNDLE, folder, ignore=NOT_SHIPPED)
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=NOT_SHIPPED)
    model = folder / "models" / "model.pt"
    state, info = load_tensors(model)
    save_tensors(model, state, info=info, flat=True)  # `monai.bundle.load` finds the tensors at the top level
    inference = yaml.safe_load((folder / "configs" / "inference.yaml").read_text())
    (folder / "configs" / "inference.json").write_text(json.dumps(inference, indent=2) + "\n")  # `load` reads no YAML
    large = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size > LARGEST]
    names = [path.relative_to(folder).as_posix() for path in large]
    if large and url is None:
        shutil.rmtree(folder)
        raise ConfigError(
            "files over 25 MB need --url", found=", ".join(names), action="Pass where they can be downloaded"
        )
    if large:
        entries = [
            {"path": name, "url": f"{url}/{name}", "hash_val": file_hash(path), "hash_type": "sha256"}
            for name, path in zip(names, large)
        ]
        (folder / "large_files.yml").write_text(yaml.safe_dump({"large_files": entries}, sort_keys=False))
    return names


def main() -> int:
    """Run the script; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", help="address below which files over 25 MB can be downloaded")
    arguments = parser.parse_args()
    try:
        large = make_zoo(arguments.folder, url=arguments.url)
    except BiomedJourneyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {arguments.folder}; {len(large)} files in large_files.yml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
