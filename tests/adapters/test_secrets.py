"""Where secrets come from: real files with real modes, real commands; and what is never said of them."""

import os
import stat
import threading

import pytest

from brain_daemon.adapters import secrets
from brain_daemon.adapters.secrets import (
    file_fault,
    forget,
    is_secret_name,
    read_secret,
    remembered,
    secrets_in,
    secrets_of,
    source_of,
    stored_secret,
)
from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import Auth, AuthMethod

CANARY = "canary-3f9a-secret"
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}


def by_file(path) -> Auth:
    return Auth(method=AuthMethod.API_KEY, config_location=str(path), env="KEY")


def by_command(*command: str) -> Auth:
    return Auth(method=AuthMethod.API_KEY, secret_command=command, env="KEY")


def shell(script: str) -> Auth:
    return by_command("/bin/sh", "-c", script)


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{CANARY}\n")
    path.chmod(0o600)
    return path


# files


def test_a_file_gives_its_one_line(key):
    """Without the line end, and it is remembered for the redactor."""
    assert read_secret(by_file(key), ENVIRONMENT) == CANARY
    assert CANARY in remembered()
    assert source_of(by_file(key), ENVIRONMENT) == str(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610])
def test_a_file_that_others_may_open_is_refused_with_the_command_that_mends_it(key, mode):
    """Reading it was possible for others: it says so before it is used."""
    key.chmod(mode)
    with pytest.raises(UserError, match=f"others may read or change it; `chmod 600 {key}`") as caught:
        read_secret(by_file(key), ENVIRONMENT)
    assert CANARY not in str(caught.value)
    assert "chmod 600" in file_fault(str(key), ENVIRONMENT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(key):
    """Whoever owns it may change it at any time."""
    os.chown(key, 65534, -1)
    with pytest.raises(UserError, match="belongs to another user"):
        read_secret(by_file(key), ENVIRONMENT)


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"two\nlines " + CANARY.encode(), b"\xff" + CANARY.encode(), b"x\0y", b"x" * 70_000]
)
def test_a_file_that_cannot_be_a_secret_is_refused_without_quoting_it(key, content):
    """The message names the file, never the content."""
    key.write_bytes(content)
    with pytest.raises(UserError, match="write the key alone there") as caught:
        read_secret(by_file(key), ENVIRONMENT)
    assert str(key) in str(caught.value)
    assert CANARY not in str(caught.value)


def test_what_is_no_file_is_refused_and_hangs_nothing(tmp_path):
    """A folder and a pipe cannot serve; a missing file leaves the variable."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for location in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match="no regular file"):
            read_secret(by_file(location), ENVIRONMENT)
    assert read_secret(by_file(tmp_path / "missing"), {**ENVIRONMENT, "KEY": "from-variable"}) == "from-variable"
    assert stored_secret(by_file(tmp_path / "missing"), {**ENVIRONMENT, "KEY": "from-variable"}) is None


def test_a_link_to_a_file_of_ones_own_serves(key, tmp_path):
    """People keep their dotfiles elsewhere; the file itself is judged."""
    (tmp_path / "link").symlink_to(key)
    assert read_secret(by_file(tmp_path / "link"), ENVIRONMENT) == CANARY
    key.chmod(0o644)
    assert "chmod 600" in file_fault(str(tmp_path / "link"), ENVIRONMENT)


# commands


def test_a_command_gives_what_it_prints_and_is_asked_once(tmp_path):
    """For some minutes; a refused key is fetched anew."""
    auth = shell(f"echo x >> {tmp_path}/count; echo {CANARY}-1")
    for _ in range(3):
        assert read_secret(auth, ENVIRONMENT) == f"{CANARY}-1"
    assert (tmp_path / "count").read_text() == "x\n"
    forget(auth)
    read_secret(auth, ENVIRONMENT)
    assert (tmp_path / "count").read_text() == "x\nx\n"
    assert f"{CANARY}-1" in remembered()
    assert source_of(auth, ENVIRONMENT) == "the command /bin/sh"


def test_many_threads_ask_a_keyring_once(tmp_path):
    """Eight starts at a time are one prompt to the person."""
    auth = shell(f"echo x >> {tmp_path}/count; sleep 0.2; echo {CANARY}-2")
    threads = [threading.Thread(target=read_secret, args=(auth, ENVIRONMENT)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "count").read_text() == "x\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f"echo {CANARY}; echo {CANARY} >&2; exit 3", "it exited 3; run it by hand"),
        (f"echo {CANARY}; echo {CANARY}", "not one line of text"),
        ("true", "not one line of text"),
        (f"printf '\\377{CANARY}'", "not text"),
        (f"yes {CANARY}", "not one line of text"),
        (f"echo {CANARY}; kill -9 $$", "it exited -9"),
        (f"echo {CANARY}; sleep 100", "did not end within 0.3 s"),
        (f"echo {CANARY}; exec >&-; sleep 100", "did not end within 0.3 s"),
    ],
)
def test_a_command_that_fails_is_told_without_its_output(monkeypatch, script, said):
    """Neither what it printed nor what it complained of, both of which may hold the key."""
    monkeypatch.setattr(secrets, "COMMAND_TIMEOUT_SECONDS", 0.3)
    with pytest.raises(UserError) as caught:
        read_secret(shell(script), ENVIRONMENT)
    assert said in str(caught.value)
    assert "/bin/sh" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_command_that_is_not_there_is_told():
    """With its name."""
    with pytest.raises(UserError, match=r"`no-such-keyring` for the secret .* could not be started"):
        read_secret(by_command("no-such-keyring", "show"), ENVIRONMENT)


def test_a_failed_command_is_not_run_for_each_task(tmp_path):
    """Forty tasks do not hang on one locked keyring."""
    auth = shell(f"echo x >> {tmp_path}/count; exit 1")
    for _ in range(3):
        with pytest.raises(UserError):
            read_secret(auth, ENVIRONMENT)
    assert (tmp_path / "count").read_text() == "x\n"


def test_a_command_sees_keyrings_and_no_secrets(tmp_path):
    """It is given where agents listen, and no variable that holds a key."""
    told = {**ENVIRONMENT, "SSH_AUTH_SOCK": "/run/agent", "OTHER_API_KEY": CANARY, "LD_PRELOAD": "x"}
    auth = by_command("/bin/sh", "-c", f"env > {tmp_path}/seen; echo fine-value")
    assert read_secret(auth, told) == "fine-value"
    seen = (tmp_path / "seen").read_text()
    assert "SSH_AUTH_SOCK=/run/agent" in seen
    assert CANARY not in seen
    assert "LD_PRELOAD" not in seen


def test_nobody_is_given_a_secret_without_a_variable_for_it(key):
    """A file without `auth.env` is the program's own login."""
    auth = Auth(method=AuthMethod.OAUTH, config_location=str(key))
    assert read_secret(auth, ENVIRONMENT) is None


# names and documents


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("API_KEY", True),
        ("APIKEY", True),
        ("GH_TOKEN", True),
        ("OPENAI_API_KEY_2", True),
        ("token", True),
        ("DB_PASSWORD", True),
        ("GITHUB_PAT", True),
        ("AWS_SECRET", True),
        ("PATH", False),
        ("SSH_AUTH_SOCK", False),
        ("MONKEY", False),
        ("KEYBOARD", False),
        ("COMPAT", False),
        ("TOKENIZERS_PARALLELISM", False),
    ],
)
def test_a_name_tells_whether_a_secret_stands_behind_it(name, secret):
    """By its last word."""
    assert is_secret_name(name) is secret
    assert list(secrets_of({name: "value"})) == (["value"] if secret else [])
    assert list(secrets_of({name: "value"}, name)) == ["value"]


def test_of_a_json_file_the_secrets_are_taken():
    """A login file of a client is known by its tokens; any other file is one secret."""
    text = '{"tokens": {"access_token": "abc-1", "account": "ann"}, "OPENAI_API_KEY": "abc-2", "n": [1, null]}'
    assert list(secrets_in(text)) == ["abc-1", "abc-2"]
    assert list(secrets_in(" plain \n")) == ["plain"]
    assert list(secrets_in("\n")) == []


def test_the_mode_asked_for_is_the_mode_that_serves(key):
    """`chmod 600` is what the message says, so it must be enough."""
    key.chmod(0o644)
    os.chmod(key, 0o600)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert read_secret(by_file(key), ENVIRONMENT) == CANARY
