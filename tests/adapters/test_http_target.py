"""Where an API call goes, and what is found to be in its way before any task is sent there. A real server on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from brain_daemon.adapters import http_place, http_target
from brain_daemon.adapters.http_place import is_loopback, missing_extra, nobody_listens
from brain_daemon.adapters.http_target import check_http, target_of
from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface

KEY = "made-up-key-of-a-test"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        status, body = self.server.answers.get(self.path, (404, {"error": {"message": "no such thing"}}))
        data = json.dumps(body).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.answers, made.asked = {}, []
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def interface(url, *, protocol="openai", front="", auth="{method: api_key, env: MY_KEY}", model="m1") -> InterfaceSpec:
    text = (
        f"---\nname: mine\nauth: {auth}\ncost: {{model: {model}}}\n{front}invoke:\n  protocol: {protocol}\n"
        f"  base_url: {url}\n  base_url_env: MY_URL\n---\n"
    )
    made = parse_interface("mine.md", text.encode())
    assert isinstance(made, InterfaceSpec), made
    return made


@pytest.mark.parametrize(
    ("protocol", "url", "variable", "found"),
    [
        ("openai", "https://host/v1", None, "https://host/v1"),
        ("openai", "https://host/v1", "http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("openai", "https://host/v1", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("openai", "https://host/v1", "", "https://host/v1"),
        ("openai", "https://host/v1beta/openai/", None, "https://host/v1beta/openai"),
        ("anthropic", "https://host", None, "https://host"),
    ],
)
def test_the_address_is_the_files_or_the_variables(protocol, url, variable, found):
    """With the /v1 that people leave out."""
    environment = {} if variable is None else {"MY_URL": variable}
    assert target_of(interface(url, protocol=protocol), environment).base_url == found


def test_a_variable_that_is_no_address_is_said_and_not_quoted():
    """It may hold anything."""
    with pytest.raises(UserError, match="the variable MY_URL holds no address") as caught:
        target_of(interface("https://host/v1"), {"MY_URL": "swordfish"})
    assert "swordfish" not in str(caught.value)


def test_a_local_interface_never_leaves_the_machine():
    """`local_only` tasks rely on it, whatever a variable says."""
    spec = interface("http://127.0.0.1:11434/v1", front="local: true\n")
    assert target_of(spec, {}).on_this_machine
    with pytest.raises(UserError, match="is another machine"):
        target_of(spec, {"MY_URL": "https://api.example.com/v1"})
    assert "is another machine" in check_http(spec, {"MY_URL": "https://api.example.com/v1"})


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:8080", True),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://192.168.1.5/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_this_machine_is_known_by_its_names(url, local):
    """No name is looked up for it."""
    assert is_loopback(url) is local


def test_a_key_is_not_shown_by_the_value_that_holds_it():
    """A target may end up in a message or a traceback."""
    target = target_of(interface("https://host/v1"), {"MY_KEY": KEY})
    assert target.key == KEY
    assert KEY not in repr(target)


def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch):
    """Nothing is imported for the answer."""
    spec = interface("https://host/v1", protocol="anthropic")
    assert missing_extra(spec) == ""
    monkeypatch.setattr(http_place.importlib.util, "find_spec", lambda name: None)
    assert missing_extra(spec) == "it needs the Python package anthropic: `pip install 'brain-daemon[anthropic]'`"


def test_a_local_server_that_is_not_running_is_known_without_a_request(server):
    """As a program that is not on PATH is; a server elsewhere is left to the check, which takes longer."""
    spec = interface(server.url, front="local: true\n")
    assert nobody_listens(spec, {}) == ""
    assert nobody_listens(interface("https://192.0.2.1/v1"), {}) == ""
    assert "MY_URL holds no address" in nobody_listens(spec, {"MY_URL": "x"})
    server.shutdown()
    server.server_close()
    assert nobody_listens(spec, {}).startswith(f"nobody listens at {server.url}/v1: ")
    assert server.asked == []


@pytest.mark.parametrize("model", ["m1", "m1:latest"])
def test_a_server_that_lists_the_model_is_ready(server, model):
    """Ollama lists a model with `:latest`; the key goes along."""
    server.answers["/v1/models"] = (200, {"data": [{"id": "other"}, {"id": model}]})
    assert check_http(interface(server.url), {"MY_KEY": KEY}) == ""
    ((path, headers),) = server.asked
    assert (path, headers["Authorization"]) == ("/v1/models", f"Bearer {KEY}")


def test_anthropics_list_is_asked_in_its_own_way(server):
    """Another header, another path; an alias is not in the list and is asked for by name."""
    server.answers["/v1/models?limit=1000"] = (200, {"data": [{"id": "m1-20260101"}]})
    server.answers["/v1/models/m1"] = (200, {"id": "m1-20260101"})
    assert check_http(interface(server.url, protocol="anthropic"), {"MY_KEY": KEY}) == ""
    assert [path for path, _ in server.asked] == ["/v1/models?limit=1000", "/v1/models/m1"]
    assert {headers["X-Api-Key"] for _, headers in server.asked} == {KEY}


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"/v1/models": (401, {"error": {"message": "Incorrect API key"}})}, "refuses the key (HTTP 401): Incorrect API key"),
        ({"/v1/models": (200, {"data": [{"id": "other"}]}), "/v1/models/other": (200, {})}, "the model m1 is not at"),
        ({"/v1/models": (200, {"data": [{"id": "other"}]})}, ""),
        ({"/v1/models": (503, {})}, "answers with an error (HTTP 503)"),
        ({"/v1/models": (400, [{"error": {"details": [{"reason": "API_KEY_INVALID"}]}}])}, "refuses the key"),
        ({"/v1/models": (404, {})}, ""),
        ({"/v1/models": (302, {}), "/elsewhere": (200, {})}, ""),
        ({"/v1/models": (200, {"data": []})}, ""),
        ({"/v1/models": (200, {"data": 5})}, ""),
        ({"/v1/models": (200, [])}, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(server, answers, says):
    """A server without a list is taken to be good; the key follows no one elsewhere."""
    server.answers |= answers
    found = check_http(interface(server.url), {"MY_KEY": KEY})
    assert found == "" if not says else says in found
    assert "/elsewhere" not in [path for path, _ in server.asked]


def test_nobody_there_is_said(server):
    """With the address, since that is what is wrong mostly."""
    server.shutdown()
    server.server_close()
    found = check_http(interface(server.url), {"MY_KEY": KEY})
    assert found.startswith(f"{server.url}/v1 cannot be reached: ")
    assert "refused" in found


def test_a_server_that_says_nothing_is_not_waited_for(server, monkeypatch):
    """The check has a bound."""
    monkeypatch.setattr(http_target, "CHECK_SECONDS", 0.2)
    hold = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda self: hold.wait(60))
    try:
        assert "cannot be reached: timed out" in check_http(interface(server.url), {"MY_KEY": KEY})
    finally:
        hold.set()
