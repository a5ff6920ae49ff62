import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.nets import AutoencoderKL
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.prior_expectation import PriorExpectation
from biomedjourney_monai.networks.weights.geometry import (
    geometry_differences,
    geometry_hash,
    geometry_of,
    require_same_geometry,
)

values = st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=3), st.lists(st.integers(0, 9), max_size=3))
geometries = st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), values), max_size=3)


def scheduler(**settings):
    return DDPMScheduler(num_train_timesteps=50, **{"schedule": "cosine", "prediction_type": "sample", **settings})


def test_what_changes_the_function_without_changing_shapes_is_seen(make_denoiser):
    base = geometry_of(denoiser=make_denoiser(), noise_scheduler=scheduler())
    assert geometry_differences(base, geometry_of(denoiser=make_denoiser(seed=3), noise_scheduler=scheduler())) == []
    for settings in (
        {"num_head_channels": (0, 4)},
        {"norm_eps": 1e-5},
        {"transformer_norm_eps": 1e-5},
        {"norm_num_groups": 8},
        {"residual_to_prior": True},
        {"prior_expectation": PriorExpectation(channels=4, alphas_cumprod=torch.ones(1000))},
    ):
        (difference,) = geometry_differences(base, geometry_of(denoiser=make_denoiser(**settings)))[:1]
        assert difference.startswith("denoiser#"), settings
    for settings in ({"prediction_type": "epsilon"}, {"schedule": "linear_beta"}):
        differences = geometry_differences(base, geometry_of(noise_scheduler=scheduler(**settings)))
        assert differences and all(text.startswith("noise_scheduler#") for text in differences)


def test_what_changes_no_result_is_not_part_of_it(make_denoiser):
    base = geometry_of(denoiser=make_denoiser())
    same = make_denoiser(use_flash_attention=True, scale_factor=0.5, num_head_channels=(99, 8))
    assert geometry_of(denoiser=same) == base


def test_networks_of_another_class_differ_by_that_alone():
    plain = AutoencoderKL(2, channels=(4,), num_res_blocks=1, attention_levels=(False,), norm_num_groups=4)
    found = {"autoencoder": {"class": "StableDiffusionAutoencoder", "channels": [8]}}
    differences = geometry_differences(found, geometry_of(autoencoder=plain))
    assert differences == ["autoencoder#class StableDiffusionAutoencoder instead of AutoencoderKL"]


def test_files_without_a_geometry_and_parts_unknown_to_one_side_pass():
    require_same_geometry({}, {"denoiser": {"x": 1}}, file="model.pt")
    require_same_geometry({"geometry": {"other": {"x": 1}}}, {"denoiser": {"x": 2}}, file="model.pt")
    with pytest.raises(WeightsError, match=r"model\.pt .* denoiser#x 1 instead of 2"):
        require_same_geometry({"geometry": {"denoiser": {"x": 1}}}, {"denoiser": {"x": 2}}, file="model.pt")


@given(one=geometries, other=geometries)
def test_equal_geometries_have_equal_hashes_and_no_differences(one, other):
    assert geometry_differences(one, one) == []
    assert (geometry_hash(one) == geometry_hash(other)) == (repr_sorted(one) == repr_sorted(other))


@given(part=st.dictionaries(st.sampled_from("xyz"), values, min_size=1), value=values)
def test_a_changed_value_is_named(part, value):
    key = sorted(part)[0]
    changed = {**part, key: ["another", part[key]]}
    (difference,) = geometry_differences({"net": part}, {"net": changed})
    assert difference.startswith(f"net#{key} ")


def repr_sorted(geometry):
    return repr([(name, sorted(part.items())) for name, part in sorted(geometry.items())])
