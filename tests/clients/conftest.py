"""The real programs, where the Makefile has put them; without its variable these tests are not collected.

On a machine where one of them is missing its tests are skipped; where `CI` is set they fail.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.cases import Met, meet
from tests.clients.programs import CLIENTS
from tests.clients.rig import Rig, left_behind, until
from tests.clients.servers import Aimock, aimock
from tests.clients.stub import Stub, stub

FOLDER = os.environ.get("TEST_CLIENTS", "")
IN_CI = bool(os.environ.get("CI"))
collect_ignore_glob = [] if FOLDER else ["test_*.py"]


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with the clients; a test without them is skipped, or fails in CI."""
    found = Path(FOLDER) / "bin"
    missing = [name for name in (*(one.program for one in CLIENTS.values()), "aimock") if not (found / name).exists()]
    if missing:
        (pytest.fail if IN_CI else pytest.skip)(
            f"{', '.join(missing)} not in {found}: `make test-clients` installs them"
        )
    return found


@pytest.fixture(scope="session")
def mock(programs, tmp_path_factory) -> Iterator[Aimock]:
    """One aimock for all tests: each test has markers of its own. What asks for a title (opencode does) gets that."""
    with aimock(programs / "aimock", tmp_path_factory.mktemp("aimock")) as server:
        server.learn({"match": {"systemMessage": "title generator"}, "response": {"content": "A title"}})
        yield server


@pytest.fixture(scope="session")
def stubbed() -> Iterator[Stub]:
    """One stub for all tests."""
    with stub() as server:
        yield server


@pytest.fixture
def rig(programs, tmp_path) -> Iterator[Callable[..., Rig]]:
    """`rig(url, timeout="5s")` makes a brain whose clients speak to that server; in the end nothing of it may be running."""
    made: list[Rig] = []

    def make(url: str, **settings: str) -> Rig:
        made.append(Rig(tmp_path / f"rig{len(made)}", programs, url, settings))
        return made[-1]

    yield make
    for one in made:
        until(lambda home=one.home: not left_behind(home), f"the end of {left_behind(one.home)}", 5.0)


@pytest.fixture(scope="session", autouse=True)
def met(request, programs, mock, stubbed, tmp_path_factory) -> Iterator[dict[str, Future[Met]]]:
    """The runs that meet a server's no, by its name, under way from the start: clients mostly wait then.

    Those run that a collected test has as its `refusal`.
    """
    params = [getattr(getattr(item, "callspec", None), "params", {}) for item in request.session.items]
    asked = dict.fromkeys(one["refusal"] for one in params if "refusal" in one)
    folder = tmp_path_factory.mktemp("no")
    with ThreadPoolExecutor(2) as pool:
        yield {one.name: pool.submit(meet, one, folder, programs, mock, stubbed) for one in asked}
