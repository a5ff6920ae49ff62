from ignite.engine import Engine

from biomedjourney_monai.training.handlers.progress import TrainingProgress


def test_the_bar_shows_what_is_trained_and_its_loss(capsys):
    for output in ({"loss": 0.25}, [{"loss": 0.25}]):
        engine = Engine(lambda engine, batch, output=output: output)
        TrainingProgress("finetune").attach(engine)
        engine.run(range(3), max_epochs=1)
        shown = capsys.readouterr().err
        assert "finetune" in shown
        assert "loss=0.25" in shown
