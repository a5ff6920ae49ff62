import pytest
import torch
from ignite.engine import Engine, Events

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.training.checkpoint import ExportModel, StageCheckpoint


def assert_same_weights(mine, other):
    for name, value in other.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value), name


def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(make_training, tmp_path):
    whole = make_training(tmp_path / "whole", max_epochs=3).run()
    first = make_training(tmp_path / "parts", max_epochs=1).run()
    second = make_training(tmp_path / "parts", max_epochs=3).run()
    assert len(first.losses) == 3  # ten items in batches of four
    assert first.losses + second.losses == whole.losses
    assert_same_weights(second.network, whole.network)
    assert_same_weights(second.average.ema_model, whole.average.ema_model)
    assert second.lr_scheduler.state_dict()["last_epoch"] == whole.lr_scheduler.state_dict()["last_epoch"]


def test_without_resume_it_starts_afresh(make_training, tmp_path):
    first = make_training(tmp_path, max_epochs=1).run()
    again = make_training(tmp_path, max_epochs=1, resume=False).run()
    assert again.losses == first.losses


def test_a_finished_training_is_not_repeated_and_exports_the_same(make_training, tmp_path):
    first = make_training(tmp_path, max_epochs=2).run()
    again = make_training(tmp_path, max_epochs=2).run()
    assert again.losses == []
    assert_same_weights(again.network, first.network)
    assert again.exported == first.exported
    assert first.exported[0][1] == {"stage": "finetune", "iterations": 6}
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["engine"] == {"epoch": 2, "iteration": 6}


def test_the_export_holds_the_averaged_weights(make_training, tmp_path):
    training = make_training(tmp_path, max_epochs=1).run()
    assert training.exported == [(tmp_path / "model.pt", {"stage": "finetune", "iterations": 3})]
    assert_same_weights(training.network, training.average.ema_model)


def test_the_checkpoint_holds_tensors_only(make_training, tmp_path):
    make_training(tmp_path, max_epochs=1).run()
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert set(content) == {"denoiser", "averaged", "optimizer", "lr_scheduler", "generators", "engine"}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_broken_checkpoint_says_what_to_do(make_training, tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(WeightsError, match="--resume false"):
        make_training(tmp_path, max_epochs=1)


def test_a_checkpoint_of_another_network_is_refused(make_training, tmp_path):
    make_training(tmp_path, max_epochs=1).run()
    checkpoint = StageCheckpoint(tmp_path / "checkpoint.pt", states={"denoiser": torch.nn.Linear(1, 1)}, generators={})
    with pytest.raises(WeightsError, match="of this configuration"):
        checkpoint.attach(Engine(lambda engine, batch: None))


def test_checkpoints_are_as_frequent_as_asked(tmp_path):
    seen = []
    engine = Engine(lambda engine, batch: None)
    StageCheckpoint(tmp_path / "c.pt", states={}, generators={}, every_epochs=2).attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: seen.append((tmp_path / "c.pt").exists()))
    engine.run([0], max_epochs=2)
    assert seen == [False, True]


def test_without_an_average_the_network_is_exported_as_it_is():
    saved = []
    engine = Engine(lambda engine, batch: None)
    ExportModel(save=lambda path, info: saved.append(info), path="m.pt", info={"a": 1}).attach(engine)
    engine.run([0, 1], max_epochs=2)
    assert saved == [{"a": 1, "iterations": 4}]
