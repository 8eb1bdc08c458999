"""What real clients printed is read right, each captured run by its name; and a client nobody here has met needs only its file.

`now` is the evening on which the runs were captured, and the zone is UTC, as it was there.
"""

import json
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from brain_daemon.adapters.base import Invocation
from brain_daemon.adapters.cancel import Cancel
from brain_daemon.adapters.command import CommandAdapter
from brain_daemon.adapters.reading import Reading, compile_rules
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.interface_file import parse_interface
from brain_daemon.model.outcome import CostBasis, Failed, FailureKind, Succeeded, Usage
from brain_daemon.model.parsing import parse_task
from brain_daemon.store.files import Files

TOP = Path(__file__).parents[2]
SHIPPED = TOP / "tools" / "interfaces"
OTHERS = TOP / "tests" / "data" / "interfaces"
TRANSCRIPTS = TOP / "tests" / "data" / "transcripts"
NOW = datetime(2026, 11, 20, 20, 20, tzinfo=UTC).timestamp()

FILES = {
    "aider": SHIPPED / "aider.md",
    "claude": SHIPPED / "claude_code.md",
    "claude-stream": SHIPPED / "claude_code.md",
    "codex": SHIPPED / "codex.md",
    "gemini": SHIPPED / "gemini_cli.md",
    "gemini-stream": OTHERS / "gemini_stream.md",
    "llm": SHIPPED / "llm.md",
    "opencode": SHIPPED / "opencode.md",
    "qwen": OTHERS / "qwen.md",
}

MOCK = "MOCK-OK-7731 é中😀 done."
NOTHING = (None, None, None, None, None)
ZERO = (0, 0, 0, 0, 1)

# transcript: text, (input, cached, output, reasoning, requests), cost in US dollars, model, client session
GOOD = {
    "aider.ok": (MOCK, (1200, None, 56, None, 1), None, None, None),
    "claude-stream.ok": (
        MOCK, (1234, 0, 56, 0, 1), "0.004542", "claude-sonnet-4-5", "5d718d4f-5aac-4344-83bf-8add4182ebe3"
    ),
    "claude.ok": (MOCK, (1234, 0, 56, 0, 1), "0.004542", "claude-sonnet-4-5", "23120fdb-da36-44d5-934a-9d2f05fb9256"),
    "claude.cached": (
        "CACHED-OK-6604", (9312, 9000, 77, 0, 1), "0.005016", "claude-sonnet-4-5", "6aaaae08-80d1-4d42-a127-52f0c0f85b2c"
    ),
    # the tokens are this run's, the cost is the whole session's: the difference is charged
    "claude.resume": (MOCK, (1234, 0, 56, 0, 1), "0.009084", "claude-sonnet-4-5", "1fdc935b-d528-42c7-8949-137fbf972e76"),
    "claude.tool": (
        "TOOL-DONE-8802", (2468, 0, 112, 0, 2), "0.009084", "claude-sonnet-4-5", "a45eba56-9062-463b-a5e9-ebb39cb84606"
    ),
    "codex.ok": (MOCK, (1234, 0, 56, 0, None), None, None, "01a1fac3-c32c-7700-8687-0f83f59f2e92"),
    "codex.cached": ("CACHED-OK-6604", (9312, 9000, 77, 33, None), None, None, "01a1fabd-b201-7eb2-b365-da5aca8ecac1"),
    # all of them are the session's
    "codex.resume": (MOCK, (2468, 0, 112, 0, None), None, None, "01a1faac-345f-70f1-a946-438f6c99b56f"),
    "codex.tool": ("TOOL-DONE-8802", (2468, 0, 112, 0, None), None, None, "01a1faac-a039-7a30-8f5a-383bdcdef106"),
    "gemini.ok": (MOCK, (1234, 0, 56, 0, 1), None, "gemini-2.5-flash", "a83c7376-d0f2-47ab-a578-71e6fe3fc40b"),
    "gemini.cached": (
        "CACHED-OK-6604", (9312, 9000, 77, 33, 1), None, "gemini-2.5-flash", "3545fcff-e2be-4915-acae-49d8b90d6017"
    ),
    "gemini.tool": (
        "TOOL-DONE-8802", (2468, 0, 112, 0, 2), None, "gemini-2.5-flash", "f05c1026-ebdb-454c-ad95-eb5134be3d13"
    ),
    # ended by a signal that the client swallowed: it looks finished, which is why a cancel must win over what is read here
    "gemini.sigtermdrip": (
        "drip " * 18 + "MOCK-FALLBACK-0000",
        (1234, 0, 56, 0, 1), None, "gemini-2.5-flash", "1bd5ba39-5ab3-44d1-86b7-8e41a4859da5",
    ),
    "gemini-stream.ok": (
        MOCK, (1234, 0, 56, None, None), None, "gemini-2.5-flash", "af20b017-3184-4a24-82bc-fce1fd173f4f"
    ),
    "llm.ok": (MOCK, (1234, None, 56, None, None), None, None, None),
    "llm.cached": ("CACHED-OK-6604", (9312, 9000, 77, 33, None), None, None, None),
    # cut off in the middle with exit code 0 and its usual line of usage: the client gives no sign that half is missing
    "llm.cut": ("cut " * 400, (1234, None, 56, None, None), None, None, None),
    "opencode.ok": (MOCK, (1234, 0, 56, 0, 1), "0.004542", None, "ses_e0559e5e9ffezT11h8nCm8SEbZ"),
    "opencode.cached": ("CACHED-OK-6604", (9312, 9000, 77, 33, 1), "0.004791", None, "ses_e05581c6dffexDU6zDJ1p0RgW9"),
    "opencode.tool": ("TOOL-DONE-8802", (2468, 0, 112, 0, 2), "0.009084", None, "ses_e05534219ffeVePsGELdanuKR1"),
    "qwen.ok": (MOCK, (2468, 0, 112, 0, 2), None, "mock-model", "289c7924-10a6-4a26-a208-45746a423548"),
}  # fmt: skip

# transcript: kind, a part of the message, when it resets, seconds to wait, (input, cached, output, reasoning, requests), cost, session
BAD = {
    "aider.e401": ("auth", "litellm.AuthenticationError", None, None, NOTHING, None, None),
    # the epoch counts; the clock text of the same answer is cut to the minute
    "claude-stream.quotaoauth": (
        "quota", "You've hit your 5-hour limit", "2026-11-20T23:36:50", None, ZERO, "0",
        "19bb680e-0e69-4f6e-9fde-e53a8dcccbdc",
    ),
    "claude.quotaoauth": (
        "quota", "resets 11:29pm (UTC)", "2026-11-20T23:30:00", None, ZERO, "0", "8bf45268-1002-4373-9aab-daa3070f6027"
    ),
    "claude.billing": (
        "quota", "Credit balance is too low", None, None, ZERO, "0", "d3bfb411-3859-4471-8385-78c547685e3f"
    ),
    "claude.auth": ("auth", "Invalid API key", None, None, ZERO, "0", "76498e24-6416-46cc-8b74-9db02868bf23"),
    "claude.e401": ("auth", "Invalid API key", None, None, ZERO, "0", "82edc00d-1605-40c0-91de-2b28728f3b74"),
    "claude.nokey": ("auth", "Not logged in", None, None, ZERO, "0", "152e11ea-2468-419f-9c5f-83b5e9477c4f"),
    "claude.rl429": (
        "rate_limit", "Request rejected (429)", None, None, ZERO, "0", "43226afd-02ec-47af-8fbf-1fade883c94e"
    ),
    "claude.loop": (
        "turn_limit", "maximum number of turns (3)", None, None, (3702, 0, 168, 0, 4), "0.013626",
        "70ac47a5-fbb8-4533-a630-71c7e8bd80b2",
    ),
    "claude.loop-budget": (
        "budget", "maximum budget ($0.005)", None, None, (1234, 0, 56, 0, 2), "0.009084",
        "d164d97b-94fa-411a-903c-c8c50480c415",
    ),
    "claude.resume-missing": (
        "session_unknown", "No conversation found with session ID", None, None, NOTHING, None, None
    ),
    "claude.rst": ("transient", "signal 9 ended it", None, None, NOTHING, None, None),
    "claude.sigint": ("transient", "exited with 0 but gave no result", None, None, NOTHING, None, None),
    "claude.sigterm": ("transient", "exit code 143", None, None, NOTHING, None, None),
    "codex.auth": ("auth", "401 Unauthorized", None, None, NOTHING, None, "01a1fab5-0e8a-7d52-be72-1f3ce44bd9e0"),
    "codex.e401": ("auth", "401 Unauthorized", None, None, NOTHING, None, "01a1faa6-8a15-7331-98ea-5e60bed4deb7"),
    "codex.nokey": (
        "auth", "Missing environment variable", None, None, NOTHING, None, "01a1faac-5774-7b00-8644-718f718078b0"
    ),
    "codex.bigover": (
        "context_too_long", "exceeds the maximum length", None, None, NOTHING, None,
        "01a1faba-b948-7391-9a9c-f836276b2317",
    ),
    "codex.billing": ("quota", "Quota exceeded", None, None, NOTHING, None, "01a1fab3-7b28-7751-a464-c3b597fc32bc"),
    "codex.quota": (
        "quota", "try again at 11:29 PM", "2026-11-20T23:30:00", None, NOTHING, None,
        "01a1faa7-ff3a-7600-81b2-52d07f3bf878",
    ),
    "codex.quotaoauth": (
        "quota", "try again at 11:36 PM", "2026-11-20T23:37:00", None, NOTHING, None,
        "01a1faaf-cb98-7de2-bd6c-8c8d6bb3b7ae",
    ),
    "codex.rl429": (
        "rate_limit", "429 Too Many Requests", None, None, NOTHING, None, "01a1faaf-82cd-7a11-8643-0b1d8628d481"
    ),
    "codex.cut": ("transient", "stream disconnected", None, None, NOTHING, None, "01a1faae-0efd-7e61-bae9-33cd07ce45d9"),
    "codex.sigterm": (
        "transient", "signal 15 ended it", None, None, NOTHING, None, "01a1faaa-63db-7071-a104-7b1cb9e36f16"
    ),
    "codex.resume-missing": ("session_unknown", "no rollout found", None, None, NOTHING, None, None),
    "gemini.auth": ("auth", "API key not valid", None, None, NOTHING, None, "fa7d208d-74df-466a-90d9-9abd4764484e"),
    "gemini.e401": ("auth", "invalid x-api-key", None, None, NOTHING, None, "cb94164a-7868-4229-a2e8-3896548dd980"),
    "gemini.loop": (
        "turn_limit", "Reached max session turns", None, None, NOTHING, None, "4535e4bf-4dc9-40ae-93e6-356737bc1541"
    ),
    # told without a time: Google's day begins at midnight in California
    "gemini.quota": (
        "quota", "exhausted your daily quota", "2026-11-21T08:01:00", None, NOTHING, None,
        "866ac75a-cfac-4ff2-8df8-16c6aa7f0221",
    ),
    "gemini.rl429": ("rate_limit", "Rate limit reached", None, None, NOTHING, None, None),
    "gemini.resume-missing": ("session_unknown", "No previous sessions found", None, None, NOTHING, None, None),
    "gemini.sigterm-norelaunch": ("transient", "exited with 0 but gave no result", None, None, NOTHING, None, None),
    "gemini-stream.quota": (
        "quota", "exhausted your daily quota", None, None, (0, 0, 0, None, None), None,
        "7ab30e74-92d8-4c3a-b07d-a3ad3d454b74",
    ),
    "opencode.auth": ("auth", "Incorrect API key", None, None, NOTHING, None, "ses_e054abd8affeLqTMONf6fjQwka"),
    "opencode.e401": ("auth", "invalid x-api-key", None, None, NOTHING, None, "ses_e05594066ffevNOF5QsP7atjhk"),
    "opencode.quota": (
        "quota", "exceeded your current quota", None, None, NOTHING, None, "ses_e0557e87cffeOHiKjdAGas4Iqr"
    ),
    "opencode.rl429": ("rate_limit", "Rate limit reached", None, 2.0, NOTHING, None, "ses_e054fc97bffeu19yUWkH5krVCT"),
    "opencode.rst": (
        "transient", "socket connection was closed", None, None, NOTHING, None, "ses_e054e6b75ffewgobXnn4ltRzlb"
    ),
    "opencode.resume-missing": ("session_unknown", "Session not found", None, None, NOTHING, None, None),
    "opencode.tool-ask": (
        "permission_denied", "auto-rejecting", None, None, (1234, 0, 56, 0, 1), "0.004542",
        "ses_e054d4787ffe2Wu8IxfRG9zJcy",
    ),
    "llm.e401": ("auth", "Error code: 401", None, None, NOTHING, None, None),
    "llm.rl429": ("rate_limit", "Error code: 429", None, None, NOTHING, None, None),
    "qwen.e401": ("auth", "API Error: 401", None, None, ZERO, None, "01d13d2f-b36e-4189-89b7-e31409b7efd1"),
}  # fmt: skip


def spec_in(path: Path) -> InterfaceSpec:
    return spec_of(path.name, path.read_text("utf-8"))


def spec_of(file_name: str, text: str) -> InterfaceSpec:
    spec = parse_interface(file_name, text.encode())
    assert isinstance(spec, InterfaceSpec), spec
    assert spec.warnings == ()
    return spec


def read(transcript: str) -> Reading:
    reader = compile_rules(spec_in(FILES[transcript.split(".", maxsplit=1)[0]]).output)
    stdout, stderr, rc = ((TRANSCRIPTS / f"{transcript}.{part}").read_bytes() for part in ("stdout", "stderr", "rc"))
    code = int(rc)
    return reader.read(stdout, stderr, code if code >= 0 else None, -code if code < 0 else None, now=NOW, zone=UTC)


def usage(*counts: int | None) -> Usage:
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "requests")
    return Usage(**dict(zip(names, counts, strict=True)))


def usd(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def instant(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_every_transcript_has_an_expected_reading():
    """No captured run is left out of the two tables."""
    assert {path.stem for path in TRANSCRIPTS.glob("*.rc")} == GOOD.keys() | BAD.keys()


@pytest.mark.parametrize("transcript", GOOD)
def test_a_good_run_gives_its_text_tokens_cost_model_and_session(transcript):
    """What a real client said when it succeeded is read to the byte and to the token, and nothing declared is missed."""
    text, counts, cost, model, session = GOOD[transcript]
    reading = read(transcript)
    assert (reading.ok, reading.failure, reading.text) == (True, None, text)
    assert reading.usage == usage(*counts)
    assert reading.cost_usd == usd(cost)
    assert (reading.model, reading.client_session) == (model, session)
    assert reading.warnings == ()


@pytest.mark.parametrize("transcript", BAD)
def test_a_failed_run_gives_its_class_reset_usage_and_session(transcript):
    """Each way in which a real client failed has its class, its reset, what it used, and the client's own words."""
    kind, message, resets_at, retry_after, counts, cost, session = BAD[transcript]
    reading = read(transcript)
    failure = reading.failure
    assert failure is not None
    assert (failure.kind, failure.resets_at, failure.retry_after_seconds) == (
        FailureKind(kind),
        instant(resets_at),
        retry_after,
    )
    assert message in failure.message
    assert "\x1b" not in failure.message
    assert reading.usage == usage(*counts)
    assert reading.cost_usd == usd(cost)
    assert reading.client_session == session


# What the captured runs do not show, in the words of the clients' own sources and of people's reports.

SAID = [
    ("claude_code", "Claude AI usage limit reached|1795217810", "quota", "2026-11-20T23:36:50"),
    ("claude_code", "You've hit your limit · resets 3:30am (Europe/Moscow)", "quota", "2026-11-21T00:31:00"),
    ("claude_code", "You've hit your session limit · resets 4pm (UTC)", "quota", "2026-11-21T16:01:00"),
    ("claude_code", "You're out of extra usage · resets Nov 25, 9am (UTC)", "quota", "2026-11-25T09:01:00"),
    ("claude_code", "You've hit your monthly spend limit", "quota", None),
    ("claude_code", "API Error: 529 Overloaded", "transient", None),
    (
        "claude_code",
        "API Error: Connection refused — a firewall may be blocking it (ECONNREFUSED)",
        "unavailable",
        None,
    ),
    ("claude_code", "Prompt is too long · 210000 tokens", "context_too_long", None),
    ("codex", "You've hit your usage limit. Try again in 2 days 17 hours 14 minutes.", "quota", "2026-11-23T13:34:00"),
    ("codex", "You’ve hit your usage limit or try again at Nov 27th, 2026 4:05 PM.", "quota", "2026-11-27T16:06:00"),
    ("codex", "You’ve hit your usage limit. Upgrade to Plus to continue", "quota", None),
    ("codex", "Selected model is at capacity. Please try a different model.", "rate_limit", None),
    ("codex", "Codex ran out of room in the model's context window.", "context_too_long", None),
    ("codex", "We’re currently experiencing high demand", "transient", None),
    (
        "gemini_cli",
        "You have exhausted your capacity on this model. Your quota will reset after 8h44m7s.",
        "quota",
        "2026-11-21T05:04:07",
    ),
    ("opencode", "Unable to connect. Is the computer able to access the url?", "unavailable", None),
    ("llm", "Error: No key found - add one using 'llm keys set openai'", "auth", None),
    ("llm", "Error: Connection error.", "unavailable", None),
    ("aider", "\nlitellm.RateLimitError: RateLimitError: OpenAIException - slow down", "rate_limit", None),
    ("aider", "\nlitellm.ContextWindowExceededError: too much", "context_too_long", None),
    ("aider", "\nlitellm.InternalServerError: 500", "transient", None),
    (
        "aider",
        "\nlitellm.InternalServerError: InternalServerError: OpenAIException - Connection \nerror.",
        "unavailable",
        None,
    ),
]

AS_PRINTED = {
    "claude_code": lambda said: (json.dumps({"type": "result", "is_error": True, "result": said}), "", 1),
    "codex": lambda said: (json.dumps({"type": "turn.failed", "error": {"message": said}}), "", 1),
    "gemini_cli": lambda said: ("", json.dumps({"error": {"message": said, "code": 429}}), 173),
    "opencode": lambda said: (json.dumps({"type": "error", "error": {"data": {"message": said}}}), "", 1),
    "llm": lambda said: ("", said, 1),
    "aider": lambda said: (
        f"Aider v0.86.2\nRepo-map: disabled\n\nhalf\n\nTokens: 1 sent, 1 received.\n{said}\n",
        "",
        0,
    ),
}


@pytest.mark.parametrize(("name", "said", "kind", "resets_at"), SAID)
def test_other_words_of_a_client_have_their_class_and_reset_too(name, said, kind, resets_at):
    """Older and newer wordings, and each way of telling a time."""
    stdout, stderr, code = AS_PRINTED[name](said)
    reading = compile_rules(spec_in(SHIPPED / f"{name}.md").output).read(
        stdout.encode(), stderr.encode(), code, now=NOW, zone=UTC
    )
    assert reading.failure is not None
    assert (reading.failure.kind, reading.failure.resets_at) == (FailureKind(kind), instant(resets_at))


def test_a_stream_that_ended_early_is_no_answer():
    """llm exits with 0 then, with half a text, and has no numbers to tell."""
    reading = compile_rules(spec_in(SHIPPED / "llm.md").output).read(b"part part part \n", b"Token usage: \n", 0)
    assert reading.failure is not None
    assert (reading.failure.kind, reading.text) == (FailureKind.TRANSIENT, "part part part ")


def test_an_ordinary_rate_limit_is_no_spent_subscription():
    """Claude says `rejected` of both; only a window that is spent has a name and an end."""
    event = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "isUsingOverage": False}}
    said = "API Error: Server is temporarily limiting requests (not your usage limit) · Too many requests."
    result = {"type": "result", "subtype": "success", "is_error": True, "result": said, "api_error_status": 429}
    printed = f"{json.dumps(event)}\n{json.dumps(result)}\n".encode()
    reading = compile_rules(spec_in(SHIPPED / "claude_code.md").output).read(printed, b"", 1, now=NOW)
    assert reading.failure is not None
    assert (reading.failure.kind, reading.failure.resets_at) == (FailureKind.RATE_LIMIT, None)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("Please retry in 41.5s.", 41.5), ("  retryDelayMs: 6173.5,", 6.1735), ("  retryDelayMs: undefined,", None)],
)
def test_a_wait_among_the_traces_of_gemini_is_found(said, seconds):
    """Its own object of the error leaves it out."""
    printed = f"{said}\n" + json.dumps({"error": {"code": 429, "message": "slow down"}})
    reading = compile_rules(spec_in(SHIPPED / "gemini_cli.md").output).read(b"", printed.encode(), 173, now=NOW)
    assert reading.failure is not None
    assert (reading.failure.kind, reading.failure.retry_after_seconds) == (FailureKind.RATE_LIMIT, seconds)


def test_a_warning_before_a_good_answer_is_no_failure():
    """Claude tells a limit that is near with answers that are good."""
    event = {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed_warning", "overageStatus": "rejected"}}
    result = {"type": "result", "subtype": "success", "is_error": False, "result": "yes"}
    printed = f"{json.dumps(event)}\n{json.dumps(result)}\n".encode()
    assert compile_rules(spec_in(SHIPPED / "claude_code.md").output).read(printed, b"", 0).ok


def test_an_answer_about_errors_is_no_error():
    """aider may be asked about litellm, and may meet an error that it gets over."""
    rules = compile_rules(spec_in(SHIPPED / "aider.md").output)
    printed = (
        "Aider v0.86.2\nModel: m\nRepo-map: disabled\n\nlitellm.RateLimitError: slow down\nRetrying in 0.2 seconds...\n"
        "first\n\nTokens: 1.5k sent, 1,000 cache hit, 20 received. Cost: $0.01 message, $0.01 session.\nApplied edit to a.py\n"
        "more\n\nTokens: 2k sent, 30 received. Cost: $0.02 message, $0.03 session.\n"
    )
    reading = rules.read(printed.encode(), b"", 0)
    assert reading.ok
    assert reading.usage == usage(3500, 1000, 50, None, 2)
    assert reading.cost_usd == Decimal("0.03")
    assert reading.text.endswith("Applied edit to a.py\nmore")


# A client that the package has never heard of.

ODD_CLIENT = """
import json, sys

prompt = sys.stdin.read()
say = lambda kind, **more: print(json.dumps({"ev": kind, **more}, ensure_ascii=False))
say("hello", conversation={"ref": "c-17"}, engine="odd-2")
print("~~ thinking ~~")
if "please fail" in prompt:
    print("odd: tired; back in 1h5m", file=sys.stderr)
    print('trace {"fault": {"why": "tired", "back_in": "1h5m"}}', file=sys.stderr)
else:
    for n, part in enumerate(prompt.split("|")):
        say("piece", body={"md": part.upper()})
        say("bill", meter={"in": {"new": 10, "old": n}, "out": "1.2k", "milli_usd": 3})
    say("bye", sure=True)
"""  # exit code 0 in both cases

ODD_FILE = """---
name: odd
type: llm
auth: none
cost: {{tier: paid, model: odd-2}}
invoke:
  command: ["{python}", "{script}"]
output:
  format: jsonl
  ok: out[?ev == 'bye'] | [-1].sure
  text: join('', out[?ev == 'piece'].body.md)
  usage:
    input_tokens: total(out[?ev == 'bill'].meter.in.[new, old][])
    cached_input_tokens: total(out[?ev == 'bill'].meter.in.old)
    output_tokens: total(out[?ev == 'bill'].num(meter.out))
    requests: out[?ev == 'bill'] && length(out[?ev == 'bill']) || 'none'
  cost_usd: total(out[?ev == 'bill'].meter.milli_usd)
  model: out[?ev == 'hello'] | [0].engine
  client_session: out[?ev == 'hello'] | [0].conversation.ref
errors:
  - when: err.fault.why == 'tired'
    kind: quota
    message: match(stderr, '(?m)^odd. (.*)$') | [0]
    resets_at: err.fault.back_in
  - kind: transient
---
# Odd
"""


@pytest.fixture
def odd(tmp_path):
    """Runs the odd client for real on a prompt, by its file alone."""
    script = tmp_path / "odd.py"
    script.write_text(ODD_CLIENT)
    spec = spec_of("odd.md", ODD_FILE.format(python=sys.executable, script=script))

    async def run(prompt: str):
        invocation = Invocation(
            attempt_id="odd.a1.00000000",
            task=parse_task("odd.md", b"x"),
            interface=spec,
            prompt=prompt,
            root=str(tmp_path),
            folder=str(tmp_path / "attempt"),
            workspace=str(tmp_path / "work"),
            environment={"PATH": os.environ["PATH"], "PYTHONUTF8": "1", "LANG": "C.UTF-8"},
            timeout_seconds=20.0,
        )
        return await CommandAdapter(Files()).invoke(invocation, Cancel())

    return run


async def test_a_client_nobody_has_met_works_by_its_file_alone(odd):
    """JSON lines with noise between them, nested usage, a sum over turns and a number for people."""
    ended = await odd("é中|😀 b")
    assert ended.outcome == Succeeded(text="É中😀 B")
    assert ended.usage == usage(21, 1, 2400, None, 2)
    assert (ended.cost.usd, ended.cost.basis) == (Decimal(6), CostBasis.REPORTED)
    assert (ended.model, ended.client_session) == ("odd-2", "c-17")


async def test_and_fails_by_it_too(odd):
    """Exit code 0, nothing on standard output that says no, and an object at the end of standard error."""
    ended = await odd("please fail")
    assert isinstance(ended.outcome, Failed)
    assert (ended.outcome.kind, ended.outcome.message) == (FailureKind.QUOTA, "tired; back in 1h5m")
    assert ended.outcome.resets_at == pytest.approx(ended.finished_at + 3900)
