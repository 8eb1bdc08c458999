"""What this machine has: made-up programs on a made-up PATH, a real server on loopback, variables."""

import http.server
import threading

import pytest

from brain_daemon.model.errors import Refused, UserError
from brain_daemon.service import detection
from brain_daemon.service.detection import Ollama, detect, ollama_at, write_registration
from brain_daemon.store.template import shipped_interfaces


class Server(http.server.BaseHTTPRequestHandler):
    """Says what the test gave it."""

    answer = b""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_):
        """Nothing is printed."""


@pytest.fixture
def port():
    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "version"),
    [(b'{"version": "0.12.3"}', "0.12.3"), (b'{"version": 1}', None), (b"[]", None), (b"<html>", None), (b"{}", None)],
)
def test_an_ollama_is_known_by_its_version(port, answer, version):
    """Whatever else listens there is none."""
    Server.answer = answer
    found = ollama_at("127.0.0.1", port)
    assert found == (None if version is None else Ollama(address=f"http://127.0.0.1:{port}", version=version))


def test_where_nothing_listens_there_is_none(port, monkeypatch):
    """It is no fault."""
    monkeypatch.setattr(detection, "OLLAMA", ("127.0.0.1", 1))
    assert detect({"PATH": "/nowhere"}).ollama is None


def test_programs_are_found_by_name_and_told_with_what_covers_them(tmp_path):
    """Those that ship a registration always; others only where they are here."""
    for name in ("codex", "goose", "unrelated"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    found = {one.program: one for one in detect({"PATH": str(tmp_path)}).programs}
    assert found["codex"].path == str(tmp_path / "codex")
    assert found["codex"].interface is not None
    assert found["codex"].interface.name == "codex"
    assert found["goose"].interface is None
    assert found["claude"].path is None
    assert not {"unrelated", "amp"} & found.keys()


def test_keys_are_named_and_never_read_out():
    """With the registrations that would use them."""
    told = detect({"PATH": "/nowhere", "GEMINI_API_KEY": "canary-value", "UNRELATED_TOKEN": "x", "CODEX_HOME": "/c"})
    assert [(key.name, "gemini_cli" in key.interfaces) for key in told.keys] == [("GEMINI_API_KEY", True)]
    assert "canary-value" not in repr(told)


def test_a_shipped_registration_is_written_where_it_is_missing(brain):
    """Byte for byte, so that it needs no approval; nothing of the person's is overwritten."""
    path = brain.root / "tools/interfaces/codex.md"
    path.unlink()
    opened = brain.open()
    try:
        assert write_registration(opened, "Codex") == "tools/interfaces/codex.md"
        assert path.read_bytes() == shipped_interfaces()["codex.md"]
        path.write_text("mine")
        with pytest.raises(Refused, match="was left as it is"):
            write_registration(opened, "codex")
        with pytest.raises(UserError, match=r"There are: .*codex"):
            write_registration(opened, "../../evil")
        assert path.read_text() == "mine"
    finally:
        opened.close()
