import json

import pytest

from biomedjourney_monai.clinic.web.request import RequestError, parse_request

ASKED = {
    "description": "  New   edema.\n",
    "seed": 3,
    "steps": 10,
    "samples": 2,
    "text_guidance_scale": 3,
    "image_guidance_scale": 1.5,
    "region": "box",
    "box": [0.1, -1, 0.5, 2],
    "force": True,
}


def parse(**changes):
    return parse_request(json.dumps(ASKED | changes).encode())


def test_a_request_is_read():
    request = parse()
    assert request.description == "New edema."
    assert (request.seed, request.steps, request.samples) == (3, 10, 2)
    assert (request.text_guidance_scale, request.image_guidance_scale) == (3.0, 1.5)
    assert request.box == (0.1, 0.0, 0.5, 1.0)
    assert request.force


def test_a_box_is_only_looked_at_where_it_is_asked_for():
    assert parse(region="auto", box="nonsense").box is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"description": 7}, "description"),
        ({"description": "x" * 1001}, "description"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**60}, "seed"),
        ({"seed": True}, "seed"),
        ({"steps": 0}, "steps"),
        ({"steps": 101}, "steps"),
        ({"steps": None}, "steps"),
        ({"samples": 17}, "samples"),
        ({"samples": 1.5}, "samples"),
        ({"text_guidance_scale": -0.1}, "text_guidance_scale"),
        ({"text_guidance_scale": float("nan")}, "text_guidance_scale"),
        ({"image_guidance_scale": float("inf")}, "image_guidance_scale"),
        ({"image_guidance_scale": "3"}, "image_guidance_scale"),
        ({"region": "../../x"}, "region"),
        ({"box": None}, "box"),
        ({"box": [0, 0, 0, 1]}, "box"),
        ({"box": [0, 0, float("nan"), 1]}, "box"),
    ],
)
def test_what_the_form_does_not_send_is_refused_without_its_content(changes, named):
    with pytest.raises(RequestError) as caught:
        parse(**changes)
    assert named in str(caught.value)
    assert "../" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(data):
    with pytest.raises(RequestError, match="a request must be"):
        parse_request(data)


def test_a_request_is_shown_without_its_description():
    assert "edema" not in repr(parse())
