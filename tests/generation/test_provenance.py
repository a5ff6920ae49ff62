from types import SimpleNamespace

import numpy as np

from biomedjourney_monai.generation.provenance import provenance, region_name, request_facts

PRIOR = np.random.default_rng(0).random((8, 8)).astype(np.float32)
GENERATOR = SimpleNamespace(denoiser=SimpleNamespace(), sampler=SimpleNamespace(settings=lambda: {"steps": 3}))


def test_provenance_names_the_mark_the_model_and_the_settings(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")  # FIPS 180-2's own example
    told = provenance(GENERATOR, tmp_path / "model.pt", region="auto")
    assert told["Comment"] == "SYNTHETIC - NOT FOR DIAGNOSIS"
    assert told["model"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (told["steps"], told["precision"], told["region"]) == (3, "float32", "auto")
    assert provenance(GENERATOR, tmp_path / "nowhere.pt")["model"] == ""


def test_a_request_adds_what_was_asked_for_and_what_was_overruled():
    facts = request_facts({"model": "m"}, description="x", seed=3, prior=PRIOR, overruled=("", "lateral"))
    assert (facts["progression_description"], facts["seed"], facts["overruled"]) == ("x", 3, "lateral")
    other = request_facts({"model": "m"}, description="x", seed=3, prior=PRIOR + 1e-3)
    assert "overruled" not in other
    assert facts["prior"] != other["prior"]
    assert len(facts["prior"]) == 16


def test_masks_are_told_apart_by_their_name():
    mask = np.eye(4, dtype=bool)
    assert region_name("auto") == "auto"
    assert region_name(mask) == region_name(mask.copy()) != region_name(~mask)
