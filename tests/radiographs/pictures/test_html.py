import base64
import io

import numpy as np
from PIL import Image

from biomedjourney_monai.radiographs.pictures.html import colour_difference, picture_uri


def test_uri_holds_the_picture():
    image = np.linspace(0, 1, 64).reshape(8, 8)
    kind, _, content = picture_uri(image).partition(",")
    assert kind == "data:image/png;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    np.testing.assert_array_equal(decoded, np.rint(image * 255))


def test_denser_is_red_and_less_dense_is_blue():
    prior, image = np.full((1, 3), 0.5), np.array([[1.0, 0.5, 0.0]])
    denser, same, less = colour_difference(image, prior)[0]
    assert denser[0] > denser[2]
    assert less[2] > less[0]
    np.testing.assert_allclose(same, 0.25)


def test_no_difference_shows_outside_the_registered_image():
    prior, image = np.full((1, 2), 0.5), np.array([[0.0, 0.0]])
    coloured = colour_difference(image, prior, valid=np.array([[True, False]]))
    np.testing.assert_allclose(coloured[0, 1], 0.25)
    assert coloured[0, 0, 2] > 0.9
