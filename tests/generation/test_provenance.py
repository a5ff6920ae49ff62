import numpy as np

from biomedjourney_monai.generation.provenance import document, provenance, region_name

PRIOR = np.random.default_rng(0).random((8, 8)).astype(np.float32)


def test_provenance_names_the_mark_the_model_and_the_settings(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"abc")  # FIPS 180-2's own example
    told = provenance(tmp_path / "model.pt", {"steps": 3})
    assert told["Comment"] == "SYNTHETIC - NOT FOR DIAGNOSIS"
    assert told["model"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (told["steps"], told["precision"]) == (3, "float32")
    assert provenance(tmp_path / "nowhere.pt", {})["model"] == ""


def test_a_request_adds_what_was_asked_for_and_what_was_overruled():
    facts = document({"model": "m"}, description="x", seed=3, prior=PRIOR, region="auto", overruled=("", "lateral"))
    assert (facts["progression_description"], facts["seed"], facts["overruled"]) == ("x", 3, "lateral")
    other = document({"model": "m"}, description="x", seed=3, prior=PRIOR + 1e-3)
    assert facts["region"] == "auto"
    assert "overruled" not in other and "region" not in other
    assert facts["prior"] != other["prior"]
    assert len(facts["prior"]) == 16


def test_masks_are_told_apart_by_their_name():
    mask = np.eye(4, dtype=bool)
    assert region_name("auto") == "auto"
    assert region_name(mask) == region_name(mask.copy()) != region_name(~mask)
