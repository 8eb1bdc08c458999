"""The environment of a child: nothing of the daemon's passes unless it is named."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.environment import child_environment
from brain_daemon.adapters.secrets import child_path, stored_secret
from brain_daemon.model.interface import (
    Auth,
    AuthMethod,
    CostSpec,
    InterfaceSpec,
    InterfaceType,
    Invoke,
    InvokeKind,
    Tier,
)
from brain_daemon.model.task import TaskSpec

CANARY = "canary-3f9a-secret"
MARKS = {
    "BRAIN_TASK_ID": "task-1",
    "BRAIN_ATTEMPT_ID": "task-1.a1.00000001",
    "BRAIN_ROOT": "/home/ann/notes",
    "BRAIN_WORKSPACE": "/home/ann/.local/state/brain/w1",
}
TASK = TaskSpec(id="task-1", explicit_id=True, title="", text="", sha256="", size_bytes=0, name="task-1.md")


def child(parent: dict[str, str], *, auth: Auth | None = None, **invoke) -> dict[str, str]:
    """The child's environment for an interface with these declarations."""
    interface = InterfaceSpec(
        name="claude_code",
        type=InterfaceType.LLM,
        sha256="",
        invoke=Invoke(kind=InvokeKind.COMMAND, **invoke),
        cost=CostSpec(tier=Tier.SUBSCRIPTION),
        auth=auth or Auth(),
    )
    invocation = Invocation(
        attempt_id=MARKS["BRAIN_ATTEMPT_ID"],
        task=TASK,
        interface=interface,
        prompt="",
        root=MARKS["BRAIN_ROOT"],
        folder="/nowhere",
        workspace=MARKS["BRAIN_WORKSPACE"],
        environment=parent,
        timeout_seconds=60.0,
    )
    return child_environment(invocation)


def test_a_secret_of_the_daemon_never_reaches_a_child():
    """The real child process of a daemon full of keys prints none of them."""
    parent = dict(os.environ) | {
        "ANTHROPIC_API_KEY": CANARY,
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "HTTPS_PROXY": f"http://ann:{CANARY}@proxy",
        "LD_PRELOAD": CANARY,
        "PYTHONPATH": CANARY,
        "BRAIN_PROOF": CANARY,
        "GIT_DIR": CANARY,
    }
    seen = subprocess.run(["/usr/bin/env"], env=child(parent), capture_output=True, text=True, check=True).stdout
    assert CANARY not in seen
    assert "PATH=" in seen


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True), st.just(CANARY)))
def test_only_names_that_are_listed_or_harmless_pass(parent):
    """Whatever the daemon's environment holds, a child gets the fixed names and the listed ones."""
    given_on = {name for name, value in child(parent | {"LISTED": CANARY}, env=("LISTED",)).items() if value == CANARY}
    harmless = {"HOME", "LANG", "LANGUAGE", "LOGNAME", "SHELL", "TMPDIR", "TZ", "USER"}
    assert "LISTED" in given_on
    for name in given_on - {"LISTED"} - harmless:
        assert re.fullmatch(
            r"LC_.*|XDG_(CACHE|CONFIG|DATA|STATE)_HOME|.*_CA_BUNDLE|NODE_EXTRA_CA_CERTS|SSL_CERT_(DIR|FILE)", name
        )


def test_homes_language_and_certificates_pass():
    """What a client needs to find its login, its language and whom to trust."""
    parent = {
        "HOME": "/home/ann",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "XDG_CONFIG_HOME": "/c",
        "SSL_CERT_FILE": "/ca.pem",
    }
    assert child(parent) == parent | MARKS | {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_listed_names_pass_and_those_the_daemon_lacks_are_left_out():
    """`env` hands on what is there; nothing is invented."""
    seen = child({"KEY": "k", "OTHER": "o"}, env=("KEY", "ABSENT"))
    assert seen["KEY"] == "k"
    assert not {"OTHER", "ABSENT"} & set(seen)


def test_the_file_of_the_secret_wins_over_all_but_the_marks(tmp_path):
    """Listed, set, secret, marks: each wins over the one before."""
    secret = tmp_path / "key"
    secret.write_text("  from-file \r\n")
    secret.chmod(0o600)
    auth = Auth(method=AuthMethod.API_KEY, config_location=str(secret), env="KEY")
    seen = child(
        {"KEY": "from-parent", "A": "parent", "BRAIN_ROOT": "outer"},
        auth=auth,
        env=("A", "BRAIN_ROOT"),
        set_env=(("KEY", "set"), ("A", "set"), ("BRAIN_TASK_ID", "forged")),
    )
    assert (seen["KEY"], seen["A"]) == ("from-file", "set")
    assert {name: seen[name] for name in MARKS} == MARKS


def test_without_a_file_the_daemons_own_variable_is_the_secret():
    """`auth.env` alone names a variable to hand on."""
    assert child({"KEY": "mine"}, auth=Auth(method=AuthMethod.API_KEY, env="KEY"))["KEY"] == "mine"


def test_a_secret_below_home_is_found_by_the_daemons_home(tmp_path):
    """`~` is the HOME that was given, not that of whoever runs this code."""
    (tmp_path / ".secrets").mkdir()
    (tmp_path / ".secrets" / "key").write_text("k3y\n")
    (tmp_path / ".secrets" / "key").chmod(0o600)
    auth = Auth(method=AuthMethod.API_KEY, config_location="~/.secrets/key", env="KEY")
    assert child({"HOME": str(tmp_path)}, auth=auth)["KEY"] == "k3y"


def test_a_login_of_the_clients_own_is_not_read(tmp_path):
    """Without `auth.env` the file is the client's business."""
    location = tmp_path / "login.json"
    location.write_text(CANARY)
    auth = Auth(method=AuthMethod.OAUTH, config_location=str(location))
    assert stored_secret(auth, {}) is None
    assert CANARY not in child({}, auth=auth).values()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a:/b", "/a:/b"),
        (":/a::.:bin:/b:", "/a:/b"),
        ("", "/usr/local/bin:/usr/bin:/bin"),
        (".", "/usr/local/bin:/usr/bin:/bin"),
    ],
)
def test_programs_are_never_found_in_the_workspace(path, expected):
    """Relative and empty entries of PATH would run what a task wrote."""
    assert child_path({"PATH": path}) == expected
    assert child({"PATH": path})["PATH"] == expected


def test_only_the_settings_read_the_environment_of_the_process():
    """The daemon's environment comes in as a value."""
    source = Path(child_environment.__code__.co_filename).read_text()
    assert "environ[" not in source
    assert "os.environ" not in source
    assert "getenv" not in source
