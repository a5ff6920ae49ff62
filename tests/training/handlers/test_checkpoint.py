import errno
import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events

from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.training.handlers.checkpoint import ExportModel, StageCheckpoint


def assert_same_weights(mine, other):
    for name, value in other.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value), name


def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(make_training, tmp_path):
    whole = make_training(tmp_path / "whole", max_epochs=3).run()
    first = make_training(tmp_path / "parts", max_epochs=1).run()
    second = make_training(tmp_path / "parts", max_epochs=3).run()
    assert len(first.losses) == 2  # ten items in batches of four
    assert first.losses + second.losses == whole.losses
    assert_same_weights(second.network, whole.network)
    assert_same_weights(second.average.ema_model, whole.average.ema_model)
    assert second.lr_scheduler.state_dict()["last_epoch"] == whole.lr_scheduler.state_dict()["last_epoch"]


@pytest.mark.parametrize("killed_at", [1, 3, 4])
def test_a_training_killed_within_an_epoch_ends_with_the_weights_of_an_uninterrupted_one(
    make_training, tmp_path, killed_at
):
    whole = make_training(tmp_path / "whole", max_epochs=3, every_iterations=1).run()
    killed = make_training(tmp_path / "parts", max_epochs=3, every_iterations=1)

    def kill(engine):
        raise KeyboardInterrupt  # after the checkpoint of that iteration, before anything else

    killed.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=killed_at), kill)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    torch.manual_seed(99)  # the states of the global generators come from the checkpoint
    resumed = make_training(tmp_path / "parts", max_epochs=3, every_iterations=1).run()
    assert whole.losses[killed_at:] == resumed.losses
    assert_same_weights(resumed.network, whole.network)
    assert_same_weights(resumed.average.ema_model, whole.average.ema_model)


def test_the_states_of_all_global_generators_come_back(make_training, tmp_path):
    def draw():
        return random.random(), np.random.rand(), float(torch.rand(1))

    make_training(tmp_path, max_epochs=1).run()
    expected = draw()
    draw()
    make_training(tmp_path, max_epochs=1)  # loads the checkpoint
    assert draw() == expected


def test_accumulated_batches_make_one_step_and_resume(make_training, tmp_path):
    whole = make_training(tmp_path / "whole", max_epochs=2, items=24, accumulate=4).run()
    make_training(tmp_path / "parts", max_epochs=1, items=24, accumulate=4).run()
    resumed = make_training(tmp_path / "parts", max_epochs=2, items=24, accumulate=4).run()
    assert_same_weights(resumed.average.ema_model, whole.average.ema_model)
    steps = [int(state["step"]) for state in whole.optimizer.state.values()]
    assert set(steps) == {4}  # of six batches an epoch: after the fourth and after the last


def test_a_full_disk_leaves_the_checkpoint_before_whole(make_training, tmp_path, monkeypatch):
    make_training(tmp_path, max_epochs=1).run()
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def fill_disk(content, path):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    more = make_training(tmp_path, max_epochs=2)
    monkeypatch.setattr(torch, "save", fill_disk)
    with pytest.raises(ConfigError, match=r"No space left on device. Free disk space"):
        more.run()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


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
    assert first.exported[0][1] == {"stage": "finetune", "iterations": 4}
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["engine"] == {"iteration": 4}


def test_the_export_holds_the_averaged_weights(make_training, tmp_path):
    training = make_training(tmp_path, max_epochs=1).run()
    assert training.exported == [(tmp_path / "model.pt", {"stage": "finetune", "iterations": 2})]
    assert_same_weights(training.network, training.average.ema_model)


def test_the_checkpoint_holds_tensors_only(make_training, tmp_path):
    make_training(tmp_path, max_epochs=1).run()
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    states = {"denoiser", "averaged", "optimizer", "lr_scheduler"}
    assert set(content) == {*states, "generators", "random", "engine", "kinds"}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_broken_checkpoint_says_what_to_do(make_training, tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(WeightsError, match="--resume false"):
        make_training(tmp_path, max_epochs=1)


def test_a_checkpoint_of_another_network_is_refused(make_training, tmp_path):
    make_training(tmp_path, max_epochs=1).run()
    checkpoint = StageCheckpoint(tmp_path / "checkpoint.pt", states={"denoiser": torch.nn.Linear(1, 1)}, generators={})
    with pytest.raises(WeightsError, match=r"4 tensors that differ, first weight none where \(1, 1\) is needed"):
        checkpoint.attach(Engine(lambda engine, batch: None))


def test_a_checkpoint_of_another_optimiser_is_refused(make_training, tmp_path):
    training = make_training(tmp_path, max_epochs=1).run()
    other = torch.optim.Adafactor(training.network.parameters())
    checkpoint = StageCheckpoint(tmp_path / "checkpoint.pt", states={"optimizer": other}, generators={})
    with pytest.raises(WeightsError, match="found AdamW where Adafactor is needed"):
        checkpoint.attach(Engine(lambda engine, batch: None))


def test_a_checkpoint_that_names_no_kinds_is_taken(make_training, tmp_path):
    make_training(tmp_path, max_epochs=1).run()
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del content["kinds"]
    torch.save(content, tmp_path / "checkpoint.pt")
    assert make_training(tmp_path, max_epochs=2).run().trainer.state.iteration == 4


def test_what_a_killed_process_had_begun_to_write_is_removed(make_training, tmp_path):
    (tmp_path / ".checkpoint-0a1b2c3d.pt").write_bytes(b"half of it")
    (tmp_path / "checkpoint-notes.pt").write_bytes(b"not ours")
    make_training(tmp_path, max_epochs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-notes.pt"]


def test_a_full_disk_while_exporting_is_one_line_too(tmp_path):
    def fill_disk(path, info):
        raise OSError(errno.ENOSPC, "No space left on device")

    engine = Engine(lambda engine, batch: None)
    ExportModel(save=fill_disk, path=tmp_path / "model.pt", info={}).attach(engine)
    with pytest.raises(ConfigError, match=r"model\.pt must be writable; found No space left on device"):
        engine.run([0])


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
