"""Looking at an interface: its check, its login and its key, by real programs."""

import os

import pytest

from brain_daemon.adapters import checking
from brain_daemon.adapters.checking import Health, examine, run_check
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface

CANARY = "canary-7b1e-secret"
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}


def interface(inside: str = "", auth: str = "") -> InterfaceSpec:
    text = f"---\nname: one\n{auth}cost: free\ninvoke:\n  command: [cat]\n{inside}---\n# One\n"
    parsed = parse_interface("one.md", text.encode())
    assert isinstance(parsed, InterfaceSpec), parsed
    return parsed


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("[/bin/true]", ""),
        ("[/bin/false]", "its check `/bin/false` exited 1"),
        ("[/bin/sh, -c, 'echo one; echo broken >&2; exit 3']", "exited 3: broken"),
        ("[/no/such]", "could not be started"),
        ("[sleep, '300']", "did not end within"),
        ("['yes']", "or printed more than"),
    ],
)
def test_each_way_a_check_can_go(monkeypatch, check, said):
    """A good one says nothing; no check hangs or fills the disk."""
    monkeypatch.setattr(checking, "CHECK_TIMEOUT_SECONDS", 0.3)
    fault = run_check(interface(f"  check: {check}\n"), ENVIRONMENT)
    assert said in fault
    assert bool(fault) == bool(said)


def test_a_check_does_not_see_other_interfaces_secrets():
    """The environment of a child is minimal (B27), that of a check as well."""
    spec = interface("  check: [/bin/sh, -c, '[ -z \"$OTHER_API_KEY\" ]']\n")
    assert run_check(spec, {**ENVIRONMENT, "OTHER_API_KEY": "hidden"}) == ""


def test_the_version_is_the_line_that_looks_like_one():
    """As the program prints it."""
    found = examine(interface("  check: [/bin/sh, -c, 'echo hello; echo tool v2.1.330']\n"), ENVIRONMENT)
    assert found.version == "tool v2.1.330"
    assert found.ran
    assert found.auth == "none needed"


def test_a_login_that_is_gone_is_told_with_the_words_that_bring_it_back():
    """`auth.check` exits with 0 while somebody is logged in."""
    auth = "auth:\n  method: oauth\n  check: [/bin/sh, -c, 'test -e {}']\n  login: one login\n"
    found = examine(interface(auth=auth.format("/nowhere/at/all")), ENVIRONMENT)
    assert found.fault == ""
    assert found.auth_fault.startswith("it is not logged in: `/bin/sh -c test -e /nowhere/at/all` exited 1; ")
    assert found.auth_fault.endswith("run `one login`")
    assert found.why_not == found.auth_fault
    good = examine(interface(auth=auth.format("/")), ENVIRONMENT)
    assert (good.why_not, good.auth) == ("", "logged in")


def test_a_program_that_is_broken_is_not_asked_about_its_login(tmp_path):
    """The first fault is the one to mend."""
    auth = f"auth:\n  method: oauth\n  check: [touch, {tmp_path}/asked]\n"
    found = examine(interface("  check: [/bin/false]\n", auth=auth), ENVIRONMENT)
    assert found.fault
    assert not (tmp_path / "asked").exists()


def test_a_key_that_cannot_be_had_is_a_login_that_is_gone(tmp_path):
    """Nothing else is run then."""
    auth = "auth:\n  method: api_key\n  env: K\n  secret_command: [/bin/sh, -c, 'echo x; exit 4', checking]\n"
    found = examine(interface(f"  check: [touch, {tmp_path}/ran]\n", auth=auth), ENVIRONMENT)
    assert "asking `/bin/sh` for the secret (auth.secret_command): it exited 4" in found.auth_fault
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("script", ['echo "$K"', 'echo "$K" | base64', 'printf %s "$K" | od -An -tx1 | tr -d " \\n"'])
@pytest.mark.parametrize("code", [0, 1])
def test_a_check_that_prints_its_key_tells_nobody(script, code):
    """Neither as version nor as fault, in any of the usual spellings."""
    auth = "auth:\n  method: api_key\n  env: K\n"
    spec = interface(f"  check: [/bin/sh, -c, '{script}; exit {code}']\n", auth=auth)
    found = examine(spec, {**ENVIRONMENT, "K": f"{CANARY}-1.5"})
    assert "redacted" in found.fault + found.version or found.version == ""
    for form in (CANARY, CANARY.encode().hex(), "Y2FuYXJ5LTdiMWUtc2VjcmV0"):
        assert form not in repr(found)


def test_control_characters_in_a_version_reach_nobody():
    """A program may print anything."""
    found = examine(interface("  check: [printf, '1.2\\033[2Jx\\007']\n"), ENVIRONMENT)
    assert "\x1b" not in found.version
    assert "\x07" not in found.version


def test_an_interface_without_checks_is_not_run():
    """There is nothing to look at."""
    assert not interface().has_check
    assert examine(interface(), ENVIRONMENT) == Health(auth="none needed", seconds=pytest.approx(0, abs=1))
