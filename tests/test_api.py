"""The public names: lazy, complete and documented."""

import subprocess
import sys

import pytest

import biomedjourney_monai as bj

HEAVY = ("torch", "monai", "numpy", "pandas", "cv2", "PIL", "yaml")


def in_a_new_process(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_bare_import_loads_nothing_heavy_and_takes_no_time():
    script = f"""
import sys, time
started = time.process_time()
import biomedjourney_monai
print(time.process_time() - started, *[name for name in {HEAVY!r} if name in sys.modules])
"""
    seconds, *loaded = in_a_new_process(script).split()
    assert loaded == []
    assert float(seconds) < 0.3


@pytest.mark.parametrize("name", [name for name in bj.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_documented(name):
    value = getattr(bj, name)
    if callable(value):
        assert value.__doc__ and len(value.__doc__.strip()) > 20
        assert not value.__doc__.startswith(f"{name}("), "dataclasses have a docstring of their own"


def test_names_are_listed_and_others_are_refused():
    assert set(bj.__all__) <= set(dir(bj))
    with pytest.raises(AttributeError, match="no attribute 'load_modle'"):
        bj.load_modle  # noqa: B018


def test_star_import_and_repeated_access_give_the_same_objects():
    assert bj.load_model is bj.load_model


@pytest.mark.parametrize(
    ("call", "near"),
    [
        (lambda: bj.load_model(weight="x"), "weights"),
        (lambda: bj.find_studies("x", wrok="y"), "work"),
        (lambda: bj.evaluate("x", judge="phantom"), "judges"),
        (lambda: bj.SamplingSettings(step=3), "steps"),
    ],
)
def test_an_unknown_keyword_names_the_nearest_known_one(call, near):
    with pytest.raises(bj.SettingError, match=f"Did you mean {near}"):
        call()


def test_a_missing_extra_is_named():
    script = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
import biomedjourney_monai as bj
try:
    bj.find_studies
except bj.BiomedJourneyError as error:
    print(error)
"""
    assert 'pip install "biomedjourney_monai[train]"' in in_a_new_process(script)
