import base64

import pytest

from biomedjourney_monai.clinic.web.login import Logins, add_user
from biomedjourney_monai.errors import BiomedJourneyError


def header(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_the_file_holds_no_password_and_is_its_owners_alone(tmp_path):
    file = tmp_path / "users"
    add_user(file, "ana", "correct horse")
    assert "horse" not in file.read_text() and file.read_text().startswith("ana:scrypt:16384:8:1:")
    assert file.stat().st_mode & 0o777 == 0o600


def test_users_get_in_with_their_own_password_only(tmp_path):
    file = tmp_path / "users"
    add_user(file, "ana", "correct horse")
    add_user(file, "bo", "battery: staple")
    logins = Logins(file)
    assert logins.accepts(header("ana", "correct horse")) and logins.accepts(header("ana", "correct horse"))
    assert logins.accepts(header("bo", "battery: staple"))
    for wrong in (
        header("ana", "battery: staple"),
        header("eve", "correct horse"),
        header("", ""),
        "Basic x",
        "Bearer y",
    ):
        assert not logins.accepts(wrong)


def test_adding_a_user_again_changes_the_password(tmp_path):
    file = tmp_path / "users"
    add_user(file, "ana", "correct horse")
    add_user(file, "ana", "another horse")
    assert Logins(file).accepts(header("ana", "another horse"))
    assert not Logins(file).accepts(header("ana", "correct horse"))


@pytest.mark.parametrize(("name", "password"), [("", "long enough"), ("a:b", "long enough"), ("ana", "short")])
def test_unsuitable_names_and_passwords_are_refused(tmp_path, name, password):
    with pytest.raises(BiomedJourneyError, match="must have"):
        add_user(tmp_path / "users", name, password)
    assert not (tmp_path / "users").exists()


@pytest.mark.parametrize("content", [None, "", "ana:secret\n", "ana:md5:16384:8:1:00:00\n", "ana:scrypt:4:8:1:00:00\n"])
def test_another_file_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "users").write_text(content)
    with pytest.raises(BiomedJourneyError, match="password file must"):
        Logins(tmp_path / "users")
