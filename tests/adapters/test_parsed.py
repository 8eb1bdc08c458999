"""What files were read as is kept between starts, and believed only where it was kept by the same code of the same files."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from brain_daemon.adapters import parsed
from brain_daemon.model.interface import InterfaceFault, InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.store.files import Files
from brain_daemon.store.template import template_files

UPPER = b"---\nname: upper\ncommand: tr a-z A-Z\n---\n# Upper\n"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "interfaces.parsed")


def kept_by(path, *files):
    """A look at these files, by a start of its own."""
    looking = parsed.interfaces(path, Files())
    found = [looking.read(name, data) for name, data in files]
    looking.keep()
    return found


def test_a_later_start_reads_what_an_earlier_one_has_kept(path, monkeypatch):
    """Specs and faults alike, without the parser; all that ships is among them."""
    files = [(name.rpartition("/")[2], data) for name, data in template_files().items() if "tools/interfaces" in name]
    files += [("upper.md", UPPER), ("broken.md", b"---\nname: [\n---\n")]
    first = kept_by(path, *files)
    assert {type(one) for one in first} == {InterfaceSpec, InterfaceFault}
    monkeypatch.setattr(parsed, "_interface", lambda *_: pytest.fail("it was parsed again"))
    assert kept_by(path, *files) == first == [parse_interface(*one) for one in files]


def test_a_file_with_other_content_or_another_name_is_parsed(path):
    """Also where it has a name that is known."""
    kept_by(path, ("upper.md", UPPER))
    other, named = kept_by(path, ("upper.md", UPPER.replace(b"A-Z", b"A-Y")), ("lower.md", UPPER))
    assert other.invoke.command[-1] == "A-Y"
    assert isinstance(named, InterfaceFault)


def test_what_was_not_there_at_the_last_look_is_forgotten(path):
    """So what is kept does not grow."""
    kept_by(path, ("upper.md", UPPER))
    size = os.path.getsize(path)
    kept_by(path, *((f"n{number}.md", UPPER.replace(b"upper", b"n%d" % number)) for number in range(20)))
    kept_by(path, ("upper.md", UPPER))
    assert os.path.getsize(path) == size


def test_nothing_is_written_where_nothing_has_changed(path):
    """A daemon looks every few seconds."""
    looking = parsed.interfaces(path, Files())
    for _ in range(2):
        looking.read("upper.md", UPPER)
        looking.keep()
    before = os.stat(path)
    looking.read("upper.md", UPPER)
    looking.keep()
    kept_by(path, ("upper.md", UPPER))
    assert os.stat(path).st_ino == before.st_ino


def test_other_code_reads_the_files_itself(path, monkeypatch):
    """What an older release has kept counts for nothing."""
    (first,) = kept_by(path, ("upper.md", UPPER))
    data = pickle.loads(Path(path).read_bytes())
    with open(path, "wb") as file:
        pickle.dump((("0.0.0", *data[0][1:]), {("upper.md", UPPER): "something older"}), file)
    assert kept_by(path, ("upper.md", UPPER)) == [first]


class _Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL"],)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x05", b"no pickle", b"\x80\x05]q\x00.", pickle.dumps((1, 2, 3)), pickle.dumps(None)],
    ids=["empty", "cut", "text", "list", "three", "none"],
)
def test_whatever_else_stands_there_is_as_good_as_nothing(path, data):
    """The files are parsed, and kept anew."""
    with open(path, "wb") as file:
        file.write(data)
    (found,) = kept_by(path, ("upper.md", UPPER))
    assert found == parse_interface("upper.md", UPPER)
    assert parsed._kept(path) == {("upper.md", UPPER): found}


def test_nothing_is_called_that_is_no_part_of_a_parsed_file(path, tmp_path, monkeypatch):
    """Whatever a file there asks pickle for."""
    monkeypatch.setenv("EVIL", str(tmp_path / "made"))
    with open(path, "wb") as file:
        pickle.dump((parsed._code(), {("upper.md", UPPER): _Evil()}), file)
    (found,) = kept_by(path, ("upper.md", UPPER))
    assert isinstance(found, InterfaceSpec)
    assert not (tmp_path / "made").exists()


def test_a_disk_that_refuses_costs_time_only(path, tmp_path):
    """The next start parses again."""
    (tmp_path / "interfaces.parsed").mkdir()
    (found,) = kept_by(path, ("upper.md", UPPER))
    assert isinstance(found, InterfaceSpec)


def test_a_start_that_knows_all_its_files_loads_no_parser(brain):
    """Neither for the interfaces nor for the table: that is what it is for."""
    script = (
        "import os, sys\n"
        "from brain_daemon.service.brain import Brain\n"
        "brain = Brain.open(sys.argv[1], dict(os.environ))\n"
        "registry, table = brain.registry(), brain.routing_table()\n"
        "assert 'librarian' in registry.entries and not table[1]\n"
        "print('pydantic' in sys.modules)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script, str(brain.root)], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]
