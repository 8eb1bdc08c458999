"""A model that the server does not have: what each client printed of it against aimock's 404, and that nothing tries it again."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from brain_daemon.adapters.reading import compile_rules
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import Failed, FailureKind

SHIPPED = Path(__file__).parents[2] / "tools" / "interfaces"
NOW = datetime(2026, 11, 21, 18, 46, tzinfo=UTC).timestamp()
SAID = "The model `nope` does not exist"
STDOUT = {
    "claude_code": '{"is_error":true,"num_turns":1,"subtype":"success","api_error_status":404,"api_error_type":"invalid_request_error",'
    '"result":"There\'s an issue with the selected model (nope). It may not exist or you may not have access to it.","type":"result"}\n',
    "codex": f'{{"type":"turn.started"}}\n{{"type":"error","message":"{SAID}"}}\n{{"type":"turn.failed","error":{{"message":"{SAID}"}}}}\n',
    "opencode": f'{{"type":"error","error":{{"name":"APIError","data":{{"message":"{SAID}","statusCode":404,"isRetryable":false}}}}}}\n',
}
STDERR = {
    "gemini_cli": "    at async main (gemini.js:17627:5) {\n  code: 404\n}\n"
    f'{{\n  "session_id": "9d983028",\n  "error": {{\n    "type": "Error",\n    "message": "{SAID}",\n    "code": 1\n  }}\n}}\n',
    "llm": f"Error: Error code: 404 - {SAID}\n",
}


def failure_of(name: str, stdout: str, stderr: str) -> Failed | None:
    spec = parse_interface(f"{name}.md", (SHIPPED / f"{name}.md").read_bytes())
    assert isinstance(spec, InterfaceSpec), spec
    read = compile_rules(spec.output).read(stdout.encode(), stderr.encode(), 1, None, now=NOW, zone=UTC)
    return read.failure


@pytest.mark.parametrize("name", [*STDOUT, *STDERR])
def test_a_model_that_is_not_there_is_permanent(name):
    """It will not be there at the next try either; another interface may have it."""
    failure = failure_of(name, STDOUT.get(name, ""), STDERR.get(name, ""))
    assert failure is not None
    assert failure.kind is FailureKind.PERMANENT
    assert "exist" in failure.message


@pytest.mark.parametrize(
    "said", ["unexpected status 404 Not Found: no such model", "unexpected status 400 Bad Request"]
)
def test_codex_says_the_status_of_what_has_no_message_of_its_own(said):
    """Unlike a status that may pass."""
    line = '{{"type":"turn.failed","error":{{"message":"{}"}}}}\n'
    failure = failure_of("codex", line.format(said), "")
    assert failure is not None
    assert failure.kind is FailureKind.PERMANENT
    passing = failure_of("codex", line.format("unexpected status 500 Internal Server Error"), "")
    assert passing is not None
    assert passing.kind is FailureKind.TRANSIENT
