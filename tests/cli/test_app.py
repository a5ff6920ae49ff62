"""The page is served to this machine alone unless told otherwise."""

import argparse
import socket

import pytest

from biomedjourney_monai.cli import app
from biomedjourney_monai.cli.main import main


@pytest.fixture
def started(monkeypatch, bundle, random_model):
    """`biomedjourney app` up to where it would serve."""
    servers = []
    monkeypatch.setattr(
        app, "make_server", lambda arguments, *, loopback, logins: (servers.append(loopback), "server")[1]
    )
    monkeypatch.setattr(app, "serve", lambda server, listening, log_level: servers.append(listening.getsockname()))

    def run(*more):
        return main(["app", "--port", "0", *more]), servers

    return run


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_on_this_machine_alone_there_is_no_warning(started, capsys, host):
    status, (loopback, address) = started("--host", host)
    shown = capsys.readouterr()
    assert (status, loopback, address[0], shown.err) == (0, True, "127.0.0.1", "")
    assert f"http://127.0.0.1:{address[1]}/" in shown.out


def test_anything_else_is_warned_of(started, capsys):
    status, (loopback, _) = started("--host", "0.0.0.0")
    assert (status, loopback) == (0, False)
    assert "no password and no encryption" in capsys.readouterr().err


def test_the_default_is_this_machine():
    parser = argparse.ArgumentParser()
    app.configure(parser)
    assert parser.parse_args([]).host == "127.0.0.1"


def test_a_port_that_is_taken_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["app", "--port", str(other.getsockname()[1])]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: --host and --port must name an address that is free")
    assert shown.count("\n") == 1


@pytest.mark.parametrize("more", [["--waiting", "0"], ["--time-limit", "0"], ["--host", "no such host"]])
def test_settings_that_cannot_be_are_one_line(more, capsys):
    assert main(["app", "--port", "0", *more]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_user_is_added_and_then_asked_for(started, tmp_path, capsys, monkeypatch):
    import io

    users = tmp_path / "users"
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert main(["app", "--password-file", str(users), "--add-user", "ana"]) == 0
    assert "horse" not in users.read_text() + capsys.readouterr().out
    status, _ = started("--password-file", str(users), "--host", "0.0.0.0")
    assert status == 0
    assert "no encryption: passwords and images can be read in transit" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--add-user", "ana"], ["--password-file", "/none"]])
def test_a_login_that_cannot_be_used_is_one_line(more, capsys):
    assert main(["app", "--port", "0", *more]) == 2
    assert capsys.readouterr().err.count("\n") == 1
