import subprocess
import sys

from biomedjourney_monai.cli.main import main


def test_the_bundle_is_printed(bundle, monkeypatch, capsys):
    monkeypatch.chdir(bundle.parent)
    assert main(["bundle-path"]) == 0
    assert capsys.readouterr().out == f"{bundle}\n"


def test_the_bundle_is_found_from_any_folder(bundle, tmp_path):
    command = [sys.executable, "-m", "biomedjourney_monai", "bundle-path"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{bundle}\n")
