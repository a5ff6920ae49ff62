import os

import pytest

from biomedjourney_monai.training.handlers.registry import tracking_at


@pytest.mark.parametrize("before", [None, "sqlite:///elsewhere.db"])
def test_mlflows_address_is_what_it_was(tmp_path, monkeypatch, before):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if before:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", before)
    address = f"sqlite:///{tmp_path}/mlruns.db"
    with pytest.raises(ZeroDivisionError), tracking_at(address):
        assert os.environ["MLFLOW_TRACKING_URI"] == address
        raise ZeroDivisionError
    assert os.environ.get("MLFLOW_TRACKING_URI") == before
