"""The two servers that the clients talk to, on loopback: aimock, and a stub for what aimock cannot say.

aimock (https://aimock.copilotkit.dev) is a program that nobody here wrote: it answers in the shapes of OpenAI's chat and
Responses, Anthropic's messages and Gemini, from fixtures, and keeps a journal of what it was asked and what it sent.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 30.0
_LISTENING = re.compile(r"listening on (http://[0-9.]+:[0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What the server answered to one request: the fixture's own figures, `{}` where it sent an error or nothing."""

    path: str
    status: int
    answer: str
    usage: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Aimock:
    """A running aimock."""

    url: str

    def learn(self, *fixtures: Mapping[str, Any]) -> None:
        """Add fixtures; of those that match a request, the first one learned is taken."""
        self._call("POST", "/__aimock/fixtures", {"fixtures": fixtures})

    def say(self, marker: str, content: str, *, tokens: tuple[int, int] = (1234, 56), **more: Any) -> None:
        """Answer a prompt that holds `marker` with `content` and these input and output tokens."""
        self.learn(
            {"match": {"userMessage": marker}, "response": {"content": content, "usage": usage(*tokens)}, **more}
        )

    def refuse(self, marker: str, status: int, message: str, **error: Any) -> None:
        """Answer a prompt that holds `marker` with an error in the shape of whoever asks."""
        response = {"error": {"message": message, **error}, "status": status}
        self.learn({"match": {"userMessage": marker}, "response": response})

    def sent(self, marker: str) -> list[Sent]:
        """What was answered to requests that a fixture of this marker matched, in order."""
        entries = [one for one in self._call("GET", "/__aimock/journal") if _marker(one) == marker]
        return [_sent(one) for one in entries]

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
            return json.load(answer)


def usage(input_tokens: int, output_tokens: int) -> dict[str, int]:
    """The same two numbers by every vendor's name for them."""
    return {
        "prompt_tokens": input_tokens, "completion_tokens": output_tokens,
        "input_tokens": input_tokens, "output_tokens": output_tokens,
        "promptTokenCount": input_tokens, "candidatesTokenCount": output_tokens,
    }  # fmt: skip


def _marker(entry: Mapping[str, Any]) -> str | None:
    fixture = entry["response"].get("fixture") or {}
    return fixture.get("match", {}).get("userMessage")


def _sent(entry: Mapping[str, Any]) -> Sent:
    response = entry["response"]["fixture"]["response"]
    return Sent(
        path=entry["path"],
        status=entry["response"]["status"],
        answer=response.get("content", ""),
        usage=response.get("usage", {}),
    )


@contextlib.contextmanager
def aimock(program: Path, folder: Path) -> Iterator[Aimock]:
    """Start the program on a free port; it ends with the block."""
    config = folder / "aimock.json"
    config.write_text(json.dumps({"host": "127.0.0.1", "port": 0, "llm": {"logLevel": "warn", "chunkSize": 7}}))
    log = folder / "aimock.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": f"{program.parent}{os.pathsep}{os.defpath}", "HOME": str(folder)},
        )
    try:
        yield Aimock(_url_in(log, process))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _url_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while not (found := _LISTENING.search(log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    return found[1]
