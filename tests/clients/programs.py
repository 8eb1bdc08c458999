"""How each real client is set up for a server on loopback: its own configuration in its own home, as its user would do it.

The interface files that ship with the package stay as they are; what differs from a person's machine is the address of the
server and the made-up key.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

KEY = "made-up-key-of-a-test"
MODEL = "mock-model"
OPENCODE_PRICES = (3, 15)
"""US dollars for a million input and output tokens, as its user would configure them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client, and what it needs: `dress` writes into the home and gives the variables for the daemon's environment."""

    name: str
    program: str
    dress: Callable[[Path, str], Mapping[str, str]]
    tool: str = ""
    """Its name for running a shell command, and below the name of that tool's argument; none where it has no tools."""
    argument: str = "command"
    permissions: str = "write"
    """The least profile that runs shell commands."""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _claude(home: Path, url: str) -> Mapping[str, str]:
    """A person who has allowed the shell in the settings of their own home: as root, `full` would be refused."""
    _write(home / ".claude" / "settings.json", json.dumps({"permissions": {"allow": ["Bash"]}}))
    return {"ANTHROPIC_BASE_URL": url, "CLAUDE_CODE_OAUTH_TOKEN": KEY}


def _codex(home: Path, url: str) -> Mapping[str, str]:
    _write(
        home / ".codex" / "config.toml",
        f'model = "{MODEL}"\nmodel_provider = "loopback"\ncheck_for_update_on_startup = false\n'
        "[analytics]\nenabled = false\n"
        f'[model_providers.loopback]\nname = "loopback"\nbase_url = "{url}/v1"\nexperimental_bearer_token = "{KEY}"\n'
        'wire_api = "responses"\nrequest_max_retries = 1\nstream_max_retries = 1\n',
    )
    return {}


def _gemini(home: Path, url: str) -> Mapping[str, str]:
    """With another server's address it wants to be told that there is a key, and its own retries are long."""
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "general": {"enableAutoUpdate": False, "maxAttempts": 2},
        "privacy": {"usageStatisticsEnabled": False},
    }
    _write(home / ".gemini" / "settings.json", json.dumps(settings))
    return {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": KEY}


def _opencode(home: Path, url: str) -> Mapping[str, str]:
    cost = dict(zip(("input", "output"), OPENCODE_PRICES, strict=True))
    model = {"name": "Mock", "cost": cost, "limit": {"context": 1_000_000, "output": 8192}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "loopback",
        "options": {"baseURL": f"{url}/v1", "apiKey": KEY},
        "models": {MODEL: model},
    }
    config = {"model": f"loopback/{MODEL}", "provider": {"loopback": provider}}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(config)}


def _llm(home: Path, url: str) -> Mapping[str, str]:
    folder = home / ".config" / "io.datasette.llm"
    _write(
        folder / "extra-openai-models.yaml",
        f"- model_id: {MODEL}\n  model_name: {MODEL}\n  api_base: {url}/v1\n  api_key_name: loopback\n",
    )
    _write(folder / "keys.json", json.dumps({"loopback": KEY}))
    _write(folder / "default_model.txt", MODEL)
    return {"LLM_USER_PATH": str(folder)}


CLIENTS = {
    client.name: client
    for client in (
        Client(name="claude_code", program="claude", dress=_claude, tool="Bash"),
        Client(name="codex", program="codex", dress=_codex, tool="exec_command", argument="cmd"),
        Client(name="gemini_cli", program="gemini", dress=_gemini, tool="run_shell_command", permissions="full"),
        Client(name="opencode", program="opencode", dress=_opencode, tool="bash", permissions="full"),
        Client(name="llm", program="llm", dress=_llm),
    )
}
