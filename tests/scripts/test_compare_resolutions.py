"""The comparison of 128 and 256 pixels gives both the same budget; a finished step is not run again."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_resolutions.sh"


def commands(*options, **variables):
    done = subprocess.run(
        [SCRIPT, "--dry-run", *map(str, options)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.lstrip("[").split("] ", 1) for line in done.stdout.splitlines())


def test_both_sizes_are_trained_alike_and_measured_on_the_same_journeys(tmp_path):
    steps = commands(tmp_path / "out", CHESTXRAY14="films")
    for kind in ("autoencoder", "train", "measure"):
        small, large = steps[f"128-{kind}"], steps[f"256-{kind}"]
        assert "res256.yaml" in large and "res256.yaml" not in small
        words = [word for word in small.split() if word.startswith("--") or word.isdigit()]
        assert words == [
            word for word in large.split() if (word.startswith("--") or word.isdigit()) and word != "--overlay"
        ]
    assert steps["256-train"].count("--work") == 2 and "real-256" in steps["256-autoencoder"]
    assert not (tmp_path / "out").exists()


def test_without_real_films_it_trains_on_rendered_ones():
    assert not [name for name in commands(CHESTXRAY14="") if "real" in name]
