"""One working folder or several, as a training's `dataset_dir` names them."""

from collections.abc import Sequence
from pathlib import Path

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import LATENTS_FOLDER, STUDIES_FILE

Folders = str | Path | Sequence[str | Path]


def as_folders(folders: Folders) -> list[Path]:
    """One folder or several, as a list.

    Raises:
        ConfigError: if the list is empty, or names a folder twice.
    """
    if isinstance(folders, (str, Path)):
        return [Path(folders)]
    paths = [Path(folder) for folder in folders]
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        found = "one of them twice" if paths else "an empty list"
        raise ConfigError("the working folders must be a list of different folders", found=found)
    return paths


def first_folder(folders: Folders) -> str:
    """The first of the working folders, which keeps the autoencoder and the runs."""
    return folders if isinstance(folders, str) else str(as_folders(folders)[0])


def latent_caches(folders: Folders) -> str | list[str]:
    """The latent cache of each working folder."""
    if isinstance(folders, (str, Path)):
        return f"{folders}/{LATENTS_FOLDER}"
    return [f"{folder}/{LATENTS_FOLDER}" for folder in as_folders(folders)]


def views_in(caches: Folders) -> list[str]:
    """The views, "PA" and "AP", of the films beside these latent caches; [] where no folder has studies.parquet."""
    tables = [folder.parent / STUDIES_FILE for folder in as_folders(caches)]
    found = [read_table(table, columns=("view_position",), made_by="cohort") for table in tables if table.is_file()]
    return sorted({view for table in found for view in table["view_position"] if view}, reverse=True)
