"""Settings: where each value comes from, and who may grant what."""

import pytest

from brain_daemon.model.errors import UserError
from brain_daemon.service import config
from brain_daemon.service.config import load
from brain_daemon.service.settings import SETTINGS


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    """The user's own file is in the test's folder."""
    monkeypatch.setattr(config, "user_config_path", lambda: str(tmp_path / "user.toml"))


def origin(origins, name):
    return next(one for one in origins if one.name == name)


def test_without_any_source_every_setting_has_its_default(tmp_path):
    """And says so."""
    made, origins = load(str(tmp_path), {})
    assert [one.name for one in origins] == [setting.name for setting in SETTINGS]
    assert {one.source for one in origins} == {"default"}
    assert (made.attempts, made.commit, made.scan_seconds, made.task_bytes) == (2, True, 10.0, 1_000_000)


def test_later_sources_win(tmp_path):
    """The user's file, brain.toml, the environment, flags; a flag that is not given says nothing."""
    (tmp_path / "user.toml").write_text("parallel = 1\nattempts = 1\nscan = '1s'\nsettle = '1s'\n")
    (tmp_path / "brain.toml").write_text("attempts = 2\nscan = '2s'\nsettle = '2s'\n")
    made, origins = load(str(tmp_path), {"BRAIN_SCAN": "3s", "BRAIN_SETTLE": "3s"}, {"settle": "4s", "commit": None})
    assert (made.parallel, made.attempts, made.scan_seconds, made.settle_seconds) == (1, 2, 3.0, 4.0)
    assert origin(origins, "parallel").source == str(tmp_path / "user.toml")
    assert origin(origins, "attempts").source == str(tmp_path / "brain.toml")
    assert origin(origins, "scan").source == "environment"
    assert origin(origins, "settle").source == "command line"


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("enabled", "off", "enabled", False),
        ("commit", "Yes", "commit", True),
        ("timeout", "1h30m", "timeout_seconds", 5400.0),
        ("inactivity", "none", "inactivity_seconds", None),
        ("inactivity", "90s", "inactivity_seconds", 90.0),
        ("transient_retries", "0", "transient_retries", 0),
        ("task_size", "256KiB", "task_bytes", 262_144),
        ("task_size", "1.5 MB", "task_bytes", 1_500_000),
        ("reserve", "2g", "reserve_bytes", 2 << 30),
        ("never", "a, b ,,c", "never", ("a", "b", "c")),
        ("on_limit", "Fallback", "on_limit", "fallback"),
    ],
)
def test_values_are_read_as_people_write_them(name, text, field, value):
    """In the environment as in a file."""
    made, _ = load(None, {f"BRAIN_{name.upper()}": text})
    assert getattr(made, field) == value


@pytest.mark.parametrize("value", ["[1, 2]", "'1, 2'"])
def test_a_list_may_be_a_list_or_text(tmp_path, value):
    """In brain.toml."""
    (tmp_path / "brain.toml").write_text(f"never = {value}\n")
    assert load(str(tmp_path), {})[0].never == ("1", "2")


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("enabled", "perhaps", "true or false"),
        ("parallel", "0", "from 1"),
        ("parallel", "many", "from 1"),
        ("transient_retries", "-1", "from 0"),
        ("timeout", "soon", ""),
        ("task_size", "1 parsec", "256KiB"),
        ("task_size", "MB", "256KiB"),
        ("task_size", "-1", "256KiB"),
        ("task_size", "inf", "256KiB"),
        ("on_limit", "pray", "wait, fallback, ask"),
    ],
)
def test_a_wrong_value_names_setting_source_and_what_is_allowed(name, text, allowed):
    """UserError, before anything starts."""
    with pytest.raises(UserError) as caught:
        load(None, {f"BRAIN_{name.upper()}": text})
    said = str(caught.value)
    assert f"the setting {name} from environment" in said
    assert repr(text) in said
    assert allowed in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("paralel = 1\n", "no setting is called 'paralel'"),
        ("a = [\n", "Correct the line"),
        (b"\xff", "Correct the line"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path, content, said):
    """With what there is, or what to do."""
    (tmp_path / "brain.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=said) as caught:
        load(str(tmp_path), {})
    assert "brain.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("user", "brain", "granted"),
    [("write", "read", "read"), ("write", "full", "write"), ("full", "write", "write"), ("read", "write", "read")],
)
def test_brain_toml_may_only_narrow_permissions(tmp_path, user, brain, granted):
    """B25: it travels with the repository."""
    (tmp_path / "user.toml").write_text(f"permissions = '{user}'\n")
    (tmp_path / "brain.toml").write_text(f"permissions = '{brain}'\n")
    assert load(str(tmp_path), {})[0].permissions == granted


def test_brain_toml_cannot_name_files_to_read(tmp_path):
    """`secret_files` is the user's own."""
    (tmp_path / "brain.toml").write_text("secret_files = ['/etc/passwd']\n")
    assert load(str(tmp_path), {})[0].secret_files == ()
    assert load(None, {"BRAIN_SECRET_FILES": "/a"})[0].secret_files == ("/a",)
