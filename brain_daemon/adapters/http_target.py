"""Where an API call goes and with which key; and, before any task is sent there, what stands in its way.

The key is read by adapters/environment.py, stays in memory, and goes to the server alone. Nothing else of the environment
reaches it. An interface that says `local: true` promises that nothing leaves this machine: an address elsewhere, also one
that a variable names, is a UserError before anything is sent.
"""

import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brain_daemon.adapters.environment import interface_environment
from brain_daemon.adapters.http_errors import ApiRefused, error_message, failure_of
from brain_daemon.adapters.http_place import base_url_of, is_loopback
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.errors import UserError
from brain_daemon.model.interface import AuthMethod, Endpoint, HttpProtocol, InterfaceSpec
from brain_daemon.model.outcome import FailureKind

CHECK_SECONDS = 10.0
_MAX_LIST_BYTES = 8 << 20
_ANTHROPIC_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server and the right to use it. `variables` are those that the interface lists under `env`."""

    endpoint: Endpoint
    base_url: str
    method: AuthMethod
    key: str | None = field(default=None, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def on_this_machine(self) -> bool:
        return is_loopback(self.base_url)


def target_of(spec: InterfaceSpec, environment: Mapping[str, str]) -> Target:
    """The target of `spec` in the daemon's `environment`. Reads a file or runs a command for the secret; raises UserError."""
    endpoint = spec.invoke.endpoint
    if endpoint is None:
        raise UserError(f"calling {spec.name}: its file names no `invoke.protocol`")
    base_url = base_url_of(endpoint, environment)
    if spec.local and not is_loopback(base_url):
        raise UserError(
            f"calling {spec.name}: its file says `local: true`, but {base_url} is another machine; correct one of the two"
        )
    given = interface_environment(spec, environment)
    key = given.get(spec.auth.env) if spec.auth.env else None
    return Target(
        endpoint=endpoint,
        base_url=base_url,
        method=spec.auth.method,
        key=key or None,
        variables={name: given[name] for name in spec.invoke.env if name in given},
    )


def connecting(target: Target) -> dict[str, Any]:
    """How the libraries' HTTP client connects: never on to another address that the server names, since the key goes along,
    and to this machine without a proxy, which people set for everything else.
    """
    direct = {"trust_env": False, "mounts": dict.fromkeys(("all://", "http://", "https://"))}
    return {"follow_redirects": False} | (direct if target.on_this_machine else {})


def check_http(spec: InterfaceSpec, environment: Mapping[str, str]) -> str:
    """Ask the server for its models, which costs nothing; empty text is good, else what is wrong. Blocks up to some 10 s.

    A server without such a list is taken to be good. Lists leave out other names of a model, so one that is not in it is
    asked for by name, and is called missing only by a server that does answer for a listed one.
    """
    try:
        target = target_of(spec, environment)
        return _fault_in(target, spec.cost.model or "", time.monotonic() + CHECK_SECONDS)
    except UserError as error:
        return str(error)


def _fault_in(target: Target, model: str, deadline: float) -> str:
    url = f"{target.base_url}/models" if target.endpoint.protocol is HttpProtocol.OPENAI else _anthropic_models(target)
    try:
        names = _model_names(_get(target, url, deadline))
        if not names or _is_among(model, names) or not _lacks(target, url.partition("?")[0], model, names[0], deadline):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return _fault_of_status(error, url)
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return f"{target.base_url} cannot be reached: {clean_line(str(reason) or type(reason).__name__)}"
    return f"the model {model} is not at {url}; name one that is under `cost.model`"


def _lacks(target: Target, url: str, model: str, listed: str, deadline: float) -> bool:
    """Whether a server that answers for a model of its list has no answer for this one; few servers answer for any."""
    return not _answers(target, url, model, deadline) and _answers(target, url, listed, deadline)


def _answers(target: Target, url: str, model: str, deadline: float) -> bool:
    try:
        _get(target, f"{url}/{urllib.parse.quote(model, safe='/:')}", deadline)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    return True


def _fault_of_status(error: urllib.error.HTTPError, url: str) -> str:
    body = _body(error)
    said = f" (HTTP {error.code})" + (f": {clean_line(error_message(body))}" if error_message(body) else "")
    if failure_of(ApiRefused(error.code, body), now=0.0).kind is FailureKind.AUTH:
        return f"{url} refuses the key{said}"
    return f"{url} answers with an error{said}" if error.code >= 500 else ""


def _body(error: urllib.error.HTTPError) -> object:
    try:
        return json.loads(error.read(1 << 16))
    except (OSError, ValueError, RecursionError):
        return None


def _anthropic_models(target: Target) -> str:
    return f"{target.base_url.removesuffix('/v1')}/v1/models?limit=1000"


def _get(target: Target, url: str, deadline: float) -> bytes:
    """The body of a GET. The key goes to this address alone: another one that the server names is not followed."""
    headers = {"User-Agent": "brain-daemon", "Accept": "application/json"}
    if target.key and target.endpoint.protocol is HttpProtocol.ANTHROPIC and target.method is not AuthMethod.OAUTH:
        headers |= {"x-api-key": target.key}
    elif target.key:
        headers |= {"Authorization": f"Bearer {target.key}"}
    if target.endpoint.protocol is HttpProtocol.ANTHROPIC:
        headers |= {"anthropic-version": _ANTHROPIC_VERSION}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http and https only, by `_base_url`
    with _opener(target).open(request, timeout=max(deadline - time.monotonic(), 0.1)) as response:
        body = b""
        while len(body) < _MAX_LIST_BYTES and time.monotonic() < deadline:
            part = response.read1(1 << 16)
            if not part:
                return body
            body += part
    return b""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _opener(target: Target) -> urllib.request.OpenerDirector:
    proxies = [urllib.request.ProxyHandler({})] if target.on_this_machine else []
    https = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    return urllib.request.build_opener(_NoRedirects, https, *proxies)


def _model_names(body: bytes) -> list[str]:
    try:
        listed = json.loads(body)
    except (ValueError, RecursionError):
        return []
    rows = listed.get("data") if isinstance(listed, dict) else None
    found = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [name for name in found if isinstance(name, str)]


def _is_among(model: str, names: list[str]) -> bool:
    """Ollama adds `:latest` to a name, Google puts `models/` before it."""
    return any(model in (name, name.removesuffix(":latest"), name.removeprefix("models/")) for name in names)
