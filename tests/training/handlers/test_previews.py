import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from biomedjourney_monai.networks.generator import Sampled
from biomedjourney_monai.training.data.latents import LatentRow
from biomedjourney_monai.training.handlers.previews import PreviewGrid, SampleValidation, ScoreSamples, draw_grid


class Latents:
    """Five examples whose latents are constant: prior 1, new image 3."""

    rows = tuple(LatentRow("finetune", "validate", n, n, n, n, journey_id=f"j00000{n}") for n in range(5))

    def __len__(self):
        return 5

    def __getitem__(self, place):
        return {
            "prior_latent": torch.full((2, 4, 4), 0.25),
            "new_mean": torch.full((2, 4, 4), 0.75),
            "text_states": torch.full((3, 6), float(place)),
        }


class Generator:
    """Draws twice the prior latent, in the latents' scale, and decodes by repeating."""

    def __init__(self):
        self.seeds = []
        self.autoencoder = self

    def sampler(self, denoiser, prior, text, null, *, seeds):
        assert not denoiser.training
        self.seeds += seeds
        return Sampled(2 * prior * denoiser.scale_factor)

    def decode(self, latent):
        return latent[:, :1].repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 - 1


@pytest.fixture
def sample():
    averaged = torch.nn.Linear(1, 1)
    averaged.scale_factor = 0.5
    return SampleValidation(
        Latents(), generator=Generator(), averaged=averaged, null_text_states=torch.zeros(1, 3, 6), batch_size=2
    )


def test_each_example_is_sampled_with_its_own_place_as_seed(sample):
    priors, counterfactuals, news = sample(5)
    assert sample.generator.seeds == [0, 1, 2, 3, 4]
    assert priors.shape == counterfactuals.shape == news.shape == (5, 32, 32)
    assert [float(part.mean()) for part in (priors, counterfactuals, news)] == [0.25, 0.5, 0.75]
    assert sample.averaged.training  # as it was before


def test_no_more_than_there_are(sample):
    assert len(sample(100)[0]) == 5


def test_a_grid_is_written_every_so_many_iterations(sample, tmp_path):
    engine = Engine(lambda engine, batch: None)
    PreviewGrid(sample, folder=tmp_path / "previews", every=2, count=3).attach(engine)
    engine.run(range(5), max_epochs=1)
    names = [path.name for path in sorted((tmp_path / "previews").iterdir())]
    assert names == ["iteration-000002.png", "iteration-000004.png"]
    grid = np.asarray(Image.open(tmp_path / "previews" / names[0]))
    assert grid.shape == (3 * 32 + 14, 3 * 32)
    assert [grid[-1, column] for column in (0, 32, 64)] == [64, 128, 191]


def test_none_is_written_where_none_is_asked_for(sample, tmp_path):
    engine = Engine(lambda engine, batch: None)
    PreviewGrid(sample, folder=tmp_path, every=0).attach(engine)
    engine.run(range(3), max_epochs=1)
    assert not list(tmp_path.iterdir())


def test_the_grid_says_which_column_is_synthetic():
    images = np.zeros((2, 64, 64), np.float32)
    caption = np.asarray(draw_grid(images, images, images))[:14]
    assert all(caption[:, column * 64 : (column + 1) * 64].max() > 128 for column in range(3))
    assert caption[:, 64:128].sum() > caption[:, :64].sum()  # the longest word


def run_scores(sample, scores, *, patience=0, epochs=None):
    saved, iterator = [], iter(scores)
    judge = ScoreSamples(
        sample,
        score=lambda journeys, images: {"cmig": next(iterator)},
        every_epochs=1,
        count=2,
        save_best=lambda engine: saved.append(engine.state.epoch),
        patience=patience,
    )
    engine = Engine(lambda engine, batch: None)
    judge.attach(engine)
    engine.run([0], max_epochs=epochs or len(scores))
    return saved, engine.state, judge


def test_the_best_model_so_far_is_kept(sample):
    saved, state, judge = run_scores(sample, [0.3, 0.5, 0.4, 0.6])
    assert saved == [1, 2, 4]
    assert state.metrics["sampled_cmig"] == 0.6
    assert judge.state_dict() == {"best": 0.6, "without_better": 0}


def test_training_stops_where_patience_ends(sample):
    saved, state, _ = run_scores(sample, [0.5, 0.4, 0.3, 0.9], patience=2)
    assert saved == [1]
    assert state.epoch == 3


def test_patience_goes_on_after_a_resume(sample):
    judge = ScoreSamples(sample, score=lambda journeys, images: {"cmig": 0.1}, every_epochs=1, patience=2)
    judge.load_state_dict({"best": 0.5, "without_better": 1})
    engine = Engine(lambda engine, batch: None)
    judge.attach(engine)
    engine.run([0], max_epochs=5)
    assert engine.state.epoch == 1


def test_a_score_that_cannot_be_computed_is_no_best(sample):
    saved, _, _ = run_scores(sample, [float("nan"), 0.2])
    assert saved == [2]


def test_the_score_sees_each_journey_with_its_picture(sample):
    seen = []

    def score(journeys, images):
        seen.append((list(journeys), images.shape))
        return {"cmig": 1.0}

    engine = Engine(lambda engine, batch: None)
    ScoreSamples(sample, score=score, every_epochs=2, count=3).attach(engine)
    engine.run([0], max_epochs=3)
    assert seen == [(["j000000", "j000001", "j000002"], (3, 32, 32))]
