"""A training small enough for a test, on the stock trainer with the handlers of train.yaml."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.training.data.order import ShuffledBatches
from biomedjourney_monai.training.handlers.averaging import WeightAverage
from biomedjourney_monai.training.handlers.checkpoint import ExportModel, StageCheckpoint
from biomedjourney_monai.training.handlers.gradients import ClipGradients
from biomedjourney_monai.training.handlers.interruption import SaveOnSignal
from biomedjourney_monai.training.inferers import AutocastInferer
from biomedjourney_monai.training.prepare_batch import DiffusionPrepareBatch, WeightedLatentLoss


class TinyDenoiser(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(4, 2, 1)

    def forward(self, noisy_latent, timesteps, prior_latent, text_states):
        return self.layer(torch.cat([noisy_latent, prior_latent], 1)) + text_states.mean()


class Training:
    """Everything of one run; `run` trains to the end of `max_epochs`."""

    def __init__(self, folder, *, max_epochs, resume=True, items=10, every_iterations=0, accumulate=1):
        torch.manual_seed(0)
        self.folder = folder
        self.network = TinyDenoiser()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.05)
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1 / (1 + step))
        self.average = WeightAverage(self.network, momentum=0.1, momentum_warmup=0.5, warmup_iters=8)
        self.order = ShuffledBatches(items, batch_size=4, seed=1)
        scheduler = DDPMScheduler(num_train_timesteps=100, schedule="cosine", prediction_type="sample")
        prepare = DiffusionPrepareBatch(scheduler, scale_factor=1.0, null_text_states=torch.zeros(1, 3, 2), seed=2)
        self.exported = []
        handlers = [
            self.average,
            LrScheduleHandler(self.lr_scheduler, print_lr=False, epoch_level=False),
            ClipGradients(list(self.network.parameters()), 1.0, checkpoint=folder / "checkpoint.pt"),
            ExportModel(
                save=lambda path, info: self.exported.append((path, info)),
                path=folder / "model.pt",
                info={"stage": "finetune"},
                averaged=self.average.ema_model,
                network=self.network,
            ),
            StageCheckpoint(
                folder / "checkpoint.pt",
                states={
                    "denoiser": self.network,
                    "averaged": self.average.ema_model,
                    "optimizer": self.optimizer,
                    "lr_scheduler": self.lr_scheduler,
                },
                generators={"noise": prepare.generator},
                every_iterations=every_iterations,
                resume=resume,
            ),
            self.order,
        ]
        handlers.append(SaveOnSignal(handlers[-2].save))
        dataset = make_items(items)
        loader = torch.utils.data.DataLoader(dataset, batch_sampler=self.order)
        self.trainer = SupervisedTrainer(
            device="cpu",
            max_epochs=max_epochs,
            train_data_loader=loader,
            network=self.network,
            optimizer=self.optimizer,
            loss_function=WeightedLatentLoss(),
            prepare_batch=prepare,
            inferer=AutocastInferer(precision="float32"),
            train_handlers=handlers,
            accumulation_steps=accumulate,
            decollate=False,
        )
        self.losses = []
        self.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: self.losses.append(float(engine.state.output["loss"]))
        )

    def run(self):
        self.trainer.run()
        return self


def make_items(count):
    generator = torch.Generator().manual_seed(3)
    return [
        {
            "new_mean": torch.randn(2, 4, 4, generator=generator),
            "new_log_variance": torch.full((2, 4, 4), -4.0),
            "prior_latent": torch.randn(2, 4, 4, generator=generator),
            "valid": torch.ones(1, 4, 4),
            "text_states": torch.randn(3, 2, generator=generator),
            "row": torch.tensor(number),
        }
        for number in range(count)
    ]


@pytest.fixture(autouse=True)
def no_tracking_elsewhere(monkeypatch):
    """MLflow's variable, which a developer may have set, wins over the address that a test gives."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def make_training():
    return Training
