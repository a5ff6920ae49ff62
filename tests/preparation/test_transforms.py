import numpy as np
from monai.transforms import Compose
from PIL import Image

from biomedjourney_monai.preparation.registration import register
from biomedjourney_monai.preparation.transforms import RegisterToPriord
from biomedjourney_monai.radiographs import load_with_content
from biomedjourney_monai.radiographs.transforms import LoadRadiographd


def test_the_composed_transforms_do_what_the_functions_do(small_mimic):
    images = sorted((small_mimic / "files" / "p10" / "p10000001").glob("s*/*-*.jpg"))
    row = {"prior_image": str(images[0]), "new_image": str(images[1]), "text": "kept"}
    transform = Compose([LoadRadiographd(("prior_image", "new_image"), size=96), RegisterToPriord()])
    result = transform(row)
    (prior, prior_content), (new, new_content) = (load_with_content(path, size=96) for path in images[:2])
    expected = register(prior, new, prior_content, new_content)
    assert np.array_equal(np.asarray(result["new_image"])[0], expected.image)
    assert np.array_equal(np.asarray(result["valid_mask"])[0], expected.valid)
    assert result["new_image"].meta["registration"]["scale"] == expected.scale
    assert "content" not in result["new_image"].meta
    assert result["text"] == "kept"


def test_plain_arrays_do_as_well():
    image = np.asarray(Image.effect_noise((64, 64), 60).resize((16, 16)).resize((64, 64)), np.float32)[None] / 255
    result = RegisterToPriord("a", "b", "mask")({"a": image, "b": image})
    assert np.allclose(result["b"].numpy()[result["mask"].numpy()], image[result["mask"].numpy()], atol=0.02)
