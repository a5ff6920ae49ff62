"""From a grid to steps: which commands, in which order, and what cells share.

cohort/                               rendered patients, unless there is a source
shared/                               studies.parquet, journeys.parquet
registered/  unregistered/            pairs.parquet, images/
texts/REGISTRATION-TEXT/              triples.jsonl, singles.jsonl
autoencoders/VARIANT/                 of variants (or, as "none", of a study) that have one of their own
latents/REGISTRATION-TEXT-ENCODER[-VARIANT]/   latents/
pretrained/ENCODER[-VARIANT]/         stage 1, which sees single images and impressions and so serves all its cells
cells/CELL/                           runs/, samples/, metrics.json, scores.parquet
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biomedjourney_monai.evaluation.ablation.grid import Cell, Study
from biomedjourney_monai.evaluation.ablation.steps import Step
from biomedjourney_monai.evaluation.ablation.variants import NO_VARIANT, lay_over
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
SCORES_FILE = "scores.parquet"
AUTOENCODER_FILE = "autoencoder.pt"


class Plan:
    """Builds the steps of a study, each once.

    Args:
        study: what is asked for.
        cells: those of its cells that are wanted.
        folder: the study's folder, absolute.
        bundle: the bundle's folder, absolute.
        image_size: side of the model's images in pixels.
    """

    def __init__(self, study: Study, cells: Sequence[Cell], folder: Path, *, bundle: Path, image_size: int) -> None:
        self.study, self.cells, self.folder, self.bundle, self.image_size = study, cells, folder, bundle, image_size
        self.model = study.model or bundle / "models" / "model.pt"
        self.scored_on_registered = any(cell.registration for cell in study.cells)
        self._steps: dict[str, Step] = {}

    def steps(self) -> list[Step]:
        """Every step, after those that it needs; what serves many cells comes first."""
        for prepare in (self._cell_texts, self._latents, self._pretrain_of, self._cell):
            for cell in self.cells:
                prepare(cell)
        return list(self._steps.values())

    def for_cells(self, cells: Sequence[Cell]) -> Plan:
        """The plan of other cells of the same study."""
        return Plan(self.study, cells, self.folder, bundle=self.bundle, image_size=self.image_size)

    def last_step(self, cell: Cell) -> str:
        """The name of the step whose outcome is the cell's."""
        return f"evaluate-{cell.name}"

    def own_steps(self, cell: Cell) -> list[str]:
        """Names of the steps that serve no other cell."""
        return [f"finetune-{cell.name}", f"sample-{cell.name}", f"evaluate-{cell.name}"]

    def training_steps(self, cell: Cell) -> list[str]:
        """Names of the steps that train the cell's model; stage 1 serves other cells too."""
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
        return [*VERB, verb, *words, *self.study.arguments.get(verb, [])]

    def _cohort(self) -> str:
        shared, needs, reads = self.folder / "shared", [], []
        source = self.study.source
        if source is None:
            source = self.folder / "cohort"
            size = ["--patients", self.study.phantom["patients"], "--seed", self.study.phantom["seed"]]
            needs = [self._add("phantom", "phantom", self._verb("phantom", "--out", source, *size), makes=[source])]
        else:
            reads = sorted(path for path in source.rglob("*.csv*") if path.is_file())
        made = [shared / STUDIES_FILE]
        command = self._verb("cohort", "--source", source, "--work", shared)
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
        command = self._verb("describe", "--work", folder, "--text", cell.text, "--seed", self.study.seed)
        return self._add(
            f"describe-{folder.name}",
            "describe",
            command,
            makes=[folder / TRIPLES_FILE, folder / SINGLES_FILE],
            needs=[self._register(cell.registration)],
            links={folder / name: pairs / name for name in (STUDIES_FILE, PAIRS_FILE, IMAGES_FOLDER)},
        )

    def _encoded(self, cell: Cell) -> Cell:
        """The cell, without a variant if that has no autoencoder of its own: whose latents these are."""
        variant = self.study.autoencoder_of(cell) or NO_VARIANT
        return Cell(cell.text, cell.registration, 2, cell.text_encoder, variant)

    def _latents_folder(self, cell: Cell) -> Path:
        return self.folder / "latents" / f"{self._texts_folder(cell).name}-{self._encoded(cell).model}"

    def _overlay(self, cell: Cell, *, stages: int) -> Path:
        """Write the config that a text encoder, a variant and a number of stages stand for, and say where."""
        path = self.folder / "overlays" / f"{cell.model}-{stages}stage.json"
        tower = str(self.study.text_encoders[cell.text_encoder].resolve())
        networks = lay_over(self.study.networks, self.study.variant(cell).networks)
        content = {**networks, "text_encoder_dir": tower, "register_as": None}
        write_json(path, content | ({"start_from": None} if stages == 1 else {}))
        return path

    def _model_reads(self, cell: Cell) -> list[Path]:
        overlay = self._overlay(cell, stages=cell.stages)
        return [self.bundle / "configs" / "common.yaml", overlay, self.study.text_encoders[cell.text_encoder]]

    def _autoencoder(self, cell: Cell, name: str) -> str:
        """Train the variant's own autoencoder on the single images of the first cell that has it."""
        first = next(other for other in self.study.cells if self.study.autoencoder_of(other) == name)
        out, overlay = self.folder / "autoencoders" / name, self.folder / "overlays" / f"autoencoder-{name}.json"
        networks = lay_over(self.study.networks, self.study.variant(cell).networks)
        write_json(overlay, {"autoencoder": networks["autoencoder"]})
        config, epochs = self.bundle / "configs" / "train_autoencoder.yaml", self.study.training.autoencoder_epochs
        settings = {"dataset_dir": self._texts_folder(first), "output_dir": out, "seed": self.study.seed}
        return self._add(
            f"autoencoder-{name}",
            "autoencoder",
            _bundle_run([config, overlay], settings | {"max_epochs": epochs}),
            makes=[out / "autoencoder", out / AUTOENCODER_FILE],
            needs=[self._cell_texts(first)],
            reads=[config, self.bundle / "configs" / "common.yaml", overlay],
        )

    def _latents(self, cell: Cell) -> str:
        own = self.study.autoencoder_of(cell)
        trained = [] if own is None else [self._autoencoder(cell, own)]
        folder, texts, pairs = (
            self._latents_folder(cell),
            self._texts_folder(cell),
            self._pairs_folder(cell.registration),
        )
        encoded = self._encoded(cell)
        overlay = self._overlay(encoded, stages=2)
        words = ["--work", folder, "--bundle", self.bundle, "--model", self.model, "--overlay", overlay]
        links = {folder / name: texts / name for name in (TRIPLES_FILE, SINGLES_FILE)}
        if own is not None:  # encode takes what is there before the model's
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
        training = self.study.training
        settings = {
            "dataset_dir": latents,
            "output_dir": out,
            "autoencoder_file": latents / "runs" / AUTOENCODER_FILE,
            "seed": self.study.seed,
            "epoch_length": training.epoch_length,
            f"{stage}_epochs": epochs,
            **training.settings,
            **self.study.variant(cell).settings,
        }
        return _bundle_run(files, settings)

    def _train_reads(self, cell: Cell, stage: str) -> list[Path]:
        return [self.bundle / "configs" / name for name in ("train.yaml", f"{stage}.yaml")] + self._model_reads(cell)

    def _pretrain_of(self, cell: Cell) -> str | None:
        """Stage 1 of the cell's networks, from the latents of the first of their cells that has two stages."""
        mine = [c for c in self.study.cells if c.model == cell.model and c.stages == 2]
        if cell.stages == 1:
            return None
        first, out = mine[0], self.folder / "pretrained" / cell.model
        epochs, _ = self.study.training.epochs(first)
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
        pretrain, (_, epochs) = self._pretrain_of(cell), self.study.training.epochs(cell)
        command = self._train(cell, "finetune", latents=self._latents_folder(cell), out=folder / "runs", epochs=epochs)
        if pretrain:
            model = self.folder / "pretrained" / cell.model / "pretrain" / "model.pt"
            command += ["--start_from", model]
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
        words += ["--overlay", self._overlay(cell, stages=cell.stages), "--split", self.study.split]
        sample = self._add(
            f"sample-{cell.name}",
            "sample",
            self._verb("sample", *words, "--seed", self.study.seed),
            makes=[folder / SAMPLES_FOLDER],
            needs=[train, self._register(self.scored_on_registered)],
            reads=self._model_reads(cell),
            links={folder / TRIPLES_FILE: self._latents_folder(cell) / TRIPLES_FILE}
            | {folder / name: pairs / name for name in (PAIRS_FILE, IMAGES_FOLDER)},
        )
        models = self.bundle / "models"
        words = ["--work", folder, "--models", models, "--split", self.study.split, "--seed", self.study.seed]
        return self._add(
            f"evaluate-{cell.name}",
            "evaluate",
            self._verb("evaluate", *words),
            makes=[folder / METRICS_FILE, folder / SCORES_FILE],
            needs=[sample],
            reads=sorted(models.glob("phantom_*.pt")),
        )


def _bundle_run(files: Sequence[Path], settings: Mapping[str, Any]) -> list[Any]:
    """The command that trains by these config files, each laid over those before it."""
    given = {key: "$None" if value is None else value for key, value in settings.items()}  # MONAI ignores None
    words = [word for key, value in given.items() for word in (f"--{key}", value)]
    return [*BUNDLE_RUN, "[" + ",".join(f"'{file}'" for file in files) + "]", *words]
