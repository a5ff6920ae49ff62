"""The steps of a grid: which commands, in which order, and what cells share.

cohort/                               rendered patients, unless there is a source
shared/                               studies.parquet, journeys.parquet
registered/  unregistered/            pairs.parquet, images/
texts/REGISTRATION-TEXT/              triples.jsonl, singles.jsonl
autoencoders/VARIANT/                 of variants that train their own ("none": of the ablation)
latents/REGISTRATION-TEXT-ENCODER[-VARIANT]/   latents/
pretrained/ENCODER[-VARIANT]/         stage 1 on single images and impressions, the same for all its cells
cells/CELL/                           runs/, samples/, metrics.json, scores.parquet
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from biomedjourney_monai.configuration import as_config_text
from biomedjourney_monai.evaluation.ablation.grid import NO_VARIANT, Ablation, Cell, lay_over
from biomedjourney_monai.evaluation.ablation.steps import Step
from biomedjourney_monai.evaluation.systems.scoring import SCORES_FILE
from biomedjourney_monai.files import write_json
from biomedjourney_monai.schema import (
    IMAGES_FOLDER,
    JOURNEYS_FILE,
    LATENTS_FOLDER,
    METRICS_FILE,
    PAIRS_FILE,
    SAMPLES_FOLDER,
    SINGLES_FILE,
    STUDIES_FILE,
    TRIPLES_FILE,
)

VERB = (sys.executable, "-m", "biomedjourney_monai.cli.main")
BUNDLE_RUN = (sys.executable, "-m", "monai.bundle", "run", "training", "--config_file")
AUTOENCODER_FILE = "autoencoder.pt"


@dataclass
class Plan:
    """Builds the steps of some cells of an ablation, each step once; `folder` and `bundle` are absolute."""

    ablation: Ablation
    cells: Sequence[Cell]
    folder: Path
    bundle: Path
    image_size: int
    _steps: dict[str, Step] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.model = self.ablation.model or self.bundle / "models" / "model.pt"
        self.scored_on_registered = any(cell.registration for cell in self.ablation.cells)

    def steps(self) -> list[Step]:
        """Every step, after those that it needs; steps that serve many cells come first."""
        for prepare in (self._cell_texts, self._latents, self._pretrain_of, self._cell):
            for cell in self.cells:
                prepare(cell)
        return list(self._steps.values())

    def for_cells(self, cells: Sequence[Cell]) -> "Plan":
        """The plan of other cells of the same ablation."""
        return replace(self, cells=cells)

    def last_step(self, cell: Cell) -> str:
        """The step whose outcome is the cell's."""
        return f"evaluate-{cell.name}"

    def own_steps(self, cell: Cell) -> list[str]:
        """The steps that serve no other cell."""
        return [f"finetune-{cell.name}", f"sample-{cell.name}", f"evaluate-{cell.name}"]

    def training_steps(self, cell: Cell) -> list[str]:
        """The steps that train the cell's model; stage 1 serves other cells too."""
        return [*([f"pretrain-{cell.model}"] if cell.stages == 2 else []), f"finetune-{cell.name}"]

    def cell_folder(self, cell: Cell) -> Path:
        """Where the cell's results are."""
        return self.folder / "cells" / cell.name

    def pairs_file(self) -> Path:
        """The pairs that every cell is scored on."""
        return self._pairs_folder(self.scored_on_registered) / PAIRS_FILE

    def _add(self, name: str, kind: str, command: Sequence[Any], **more: Any) -> str:
        if name not in self._steps:
            self._steps[name] = Step(name, kind, [str(word) for word in command], **more)
        return name

    def _verb(self, verb: str, *words: Any) -> list[Any]:
        return [*VERB, verb, *words, *self.ablation.arguments.get(verb, [])]

    def _cohort(self) -> str:
        shared, needs, reads = self.folder / "shared", [], []
        source = self.ablation.source
        if source is None:
            source = self.folder / "cohort"
            size = ["--patients", self.ablation.phantom["patients"], "--seed", self.ablation.phantom["seed"]]
            needs = [self._add("phantom", "phantom", self._verb("phantom", "--out", source, *size), makes=[source])]
        else:
            reads = sorted(path for path in source.rglob("*.csv*") if path.is_file())
        made = [shared / STUDIES_FILE]
        command = self._verb("cohort", f"--{self.ablation.layout}", source, "--work", shared)
        cohort = self._add("cohort", "cohort", command, makes=made, needs=needs, reads=reads)
        made = [shared / JOURNEYS_FILE]
        return self._add("journeys", "journeys", self._verb("journeys", "--work", shared), makes=made, needs=[cohort])

    def _pairs_folder(self, registration: bool) -> Path:
        return self.folder / ("registered" if registration else "unregistered")

    def _register(self, registration: bool) -> str:
        folder, shared = self._pairs_folder(registration), self.folder / "shared"
        how = [] if registration else ["--transform", "none", "--min-score", "-1"]
        command = self._verb("register", "--work", folder, "--size", self.image_size, *how)
        return self._add(
            f"register-{folder.name}",
            f"register-{folder.name}",
            command,
            makes=[folder / PAIRS_FILE, folder / IMAGES_FOLDER],
            needs=[self._cohort()],
            links={folder / name: shared / name for name in (STUDIES_FILE, JOURNEYS_FILE)},
        )

    def _texts_folder(self, cell: Cell) -> Path:
        return self.folder / "texts" / f"{self._pairs_folder(cell.registration).name}-{cell.text}"

    def _cell_texts(self, cell: Cell) -> str:
        folder, pairs = self._texts_folder(cell), self._pairs_folder(cell.registration)
        command = self._verb("describe", "--work", folder, "--text", cell.text, "--seed", self.ablation.seed)
        return self._add(
            f"describe-{folder.name}",
            "describe",
            command,
            makes=[folder / TRIPLES_FILE, folder / SINGLES_FILE],
            needs=[self._register(cell.registration)],
            links={folder / name: pairs / name for name in (STUDIES_FILE, PAIRS_FILE, IMAGES_FOLDER)},
        )

    def _encoded(self, cell: Cell) -> Cell:
        """The cell whose latents are used: without its variant if that does not train its own autoencoder."""
        variant = self.ablation.autoencoder_of(cell) or NO_VARIANT
        return Cell(cell.text, cell.registration, 2, cell.text_encoder, variant)

    def _latents_folder(self, cell: Cell) -> Path:
        return self.folder / "latents" / f"{self._texts_folder(cell).name}-{self._encoded(cell).model}"

    def _overlay(self, cell: Cell, *, stages: int) -> Path:
        """Write the config of a text encoder, a variant and a number of stages, and return its path."""
        path = self.folder / "overlays" / f"{cell.model}-{stages}stage.json"
        tower = str(self.ablation.text_encoders[cell.text_encoder].resolve())
        networks = lay_over(self.ablation.networks, self.ablation.variant(cell).networks)
        content = {**networks, "text_encoder_dir": tower, "register_as": None}
        write_json(path, content | ({"start_from": None} if stages == 1 else {}))
        return path

    def _model_reads(self, cell: Cell) -> list[Path]:
        overlay = self._overlay(cell, stages=cell.stages)
        return [self.bundle / "configs" / "common.yaml", overlay, self.ablation.text_encoders[cell.text_encoder]]

    def _autoencoder(self, cell: Cell, name: str) -> str:
        """Train the variant's own autoencoder on the single images of the first cell that has it."""
        first = next(other for other in self.ablation.cells if self.ablation.autoencoder_of(other) == name)
        out, overlay = self.folder / "autoencoders" / name, self.folder / "overlays" / f"autoencoder-{name}.json"
        networks = lay_over(self.ablation.networks, self.ablation.variant(cell).networks)
        write_json(overlay, {"autoencoder": networks["autoencoder"]})
        config, epochs = self.bundle / "configs" / "train_autoencoder.yaml", self.ablation.training.autoencoder_epochs
        settings = {"dataset_dir": self._texts_folder(first), "output_dir": out, "seed": self.ablation.seed}
        return self._add(
            f"autoencoder-{name}",
            "autoencoder",
            _bundle_run([config, overlay], settings | {"max_epochs": epochs}),
            makes=[out / "autoencoder", out / AUTOENCODER_FILE],
            needs=[self._cell_texts(first)],
            reads=[config, self.bundle / "configs" / "common.yaml", overlay],
        )

    def _latents(self, cell: Cell) -> str:
        own = self.ablation.autoencoder_of(cell)
        trained = [] if own is None else [self._autoencoder(cell, own)]
        folder, texts = self._latents_folder(cell), self._texts_folder(cell)
        pairs, encoded = self._pairs_folder(cell.registration), self._encoded(cell)
        overlay = self._overlay(encoded, stages=2)
        words = ["--work", folder, "--bundle", self.bundle, "--model", self.model, "--overlay", overlay]
        links = {folder / name: texts / name for name in (TRIPLES_FILE, SINGLES_FILE)}
        if own is not None:  # encode prefers this file to the model's
            links[folder / "runs" / AUTOENCODER_FILE] = self.folder / "autoencoders" / own / AUTOENCODER_FILE
        return self._add(
            f"encode-{folder.name}",
            "encode",
            self._verb("encode", *words),
            makes=[folder / LATENTS_FOLDER, folder / "runs" / AUTOENCODER_FILE],
            needs=[self._cell_texts(cell), *trained],
            reads=[*([] if trained else [self.model]), *self._model_reads(encoded)],
            links=links | {folder / IMAGES_FOLDER: pairs / IMAGES_FOLDER},
        )

    def _train(self, cell: Cell, stage: str, *, latents: Path, out: Path, epochs: int) -> list[Any]:
        configs = [self.bundle / "configs" / name for name in ("train.yaml", f"{stage}.yaml")]
        files = [*configs, self._overlay(cell, stages=cell.stages)]
        training = self.ablation.training
        settings = {
            "dataset_dir": latents,
            "output_dir": out,
            "autoencoder_file": latents / "runs" / AUTOENCODER_FILE,
            "seed": self.ablation.seed,
            "epoch_length": training.epoch_length,
            f"{stage}_epochs": epochs,
            **training.settings,
            **self.ablation.variant(cell).settings,
        }
        return _bundle_run(files, settings)

    def _train_reads(self, cell: Cell, stage: str) -> list[Path]:
        return [self.bundle / "configs" / name for name in ("train.yaml", f"{stage}.yaml")] + self._model_reads(cell)

    def _pretrain_of(self, cell: Cell) -> str | None:
        """Stage 1 of the cell's networks, on the latents of the first of their cells with two stages."""
        mine = [c for c in self.ablation.cells if c.model == cell.model and c.stages == 2]
        if cell.stages == 1:
            return None
        first, out = mine[0], self.folder / "pretrained" / cell.model
        epochs, _ = self.ablation.training.epochs(first)
        return self._add(
            f"pretrain-{cell.model}",
            "train",
            self._train(first, "pretrain", latents=self._latents_folder(first), out=out, epochs=epochs),
            makes=[out / "pretrain"],
            needs=[self._latents(first)],
            reads=self._train_reads(first, "pretrain"),
            share=float(epochs),
        )

    def _cell(self, cell: Cell) -> str:
        folder, pairs = self.cell_folder(cell), self._pairs_folder(self.scored_on_registered)
        pretrain, (_, epochs) = self._pretrain_of(cell), self.ablation.training.epochs(cell)
        command = self._train(cell, "finetune", latents=self._latents_folder(cell), out=folder / "runs", epochs=epochs)
        if pretrain:
            model = self.folder / "pretrained" / cell.model / "pretrain" / "model.pt"
            command += ["--start_from", as_config_text(model)]
        train = self._add(
            f"finetune-{cell.name}",
            "train",
            command,
            makes=[folder / "runs" / "finetune"],
            needs=[self._latents(cell), *([pretrain] if pretrain else [])],
            reads=self._train_reads(cell, "finetune"),
            share=float(epochs),
        )
        words = ["--work", folder, "--bundle", self.bundle, "--model", folder / "runs" / "finetune" / "model.pt"]
        words += ["--overlay", self._overlay(cell, stages=cell.stages), "--split", self.ablation.split]
        sample = self._add(
            f"sample-{cell.name}",
            "sample",
            self._verb("sample", *words, "--seed", self.ablation.seed),
            makes=[folder / SAMPLES_FOLDER],
            needs=[train, self._register(self.scored_on_registered)],
            reads=self._model_reads(cell),
            links={folder / TRIPLES_FILE: self._latents_folder(cell) / TRIPLES_FILE}
            | {folder / name: pairs / name for name in (PAIRS_FILE, IMAGES_FOLDER)},
        )
        models = self.bundle / "models"
        words = ["--work", folder, "--models", models, "--split", self.ablation.split, "--seed", self.ablation.seed]
        return self._add(
            f"evaluate-{cell.name}",
            "evaluate",
            self._verb("evaluate", *words),
            makes=[folder / METRICS_FILE, folder / SCORES_FILE],
            needs=[sample],
            reads=sorted([*models.glob("*_classifier.pt"), *models.glob("*_segmenter.pt")]),
        )


def _bundle_run(files: Sequence[Path], settings: Mapping[str, Any]) -> list[Any]:
    """The command that trains with these config files, each laid over the preceding ones."""
    given = {key: "$None" if value is None else value for key, value in settings.items()}  # MONAI ignores None
    texts = {key: as_config_text(value) if isinstance(value, Path) else value for key, value in given.items()}
    words = [word for key, value in texts.items() for word in (f"--{key}", value)]
    return [*BUNDLE_RUN, "[" + ",".join(f"'{file}'" for file in files) + "]", *words]
