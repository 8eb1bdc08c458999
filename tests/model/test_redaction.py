"""No secret that is known or has a known shape stays in a text; prose and code keep theirs."""

import base64
import json
import re
import string
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

import brain_daemon
from brain_daemon.model import redaction
from brain_daemon.model.redaction import SHAPES, Finding, Redactor, _matches, _merged
from tests.depth import deep

ALNUM = "Ab3dEf6hIj9lMn2pQr5tUv8xYz1B4d7Fg0Hj3Kl6Np9Rs2Tv5Wx8Za1Cd4Ef7Gh0Jk3Mn6Pq9St2Vw5Yz8"
HEX = "0123456789abcdef" * 4
PEM_BODY = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"] * 3)

# Made up, and written in two pieces, so that no scanner of repositories takes this file for a leak.
TOKENS = [
    ("aws_access_key", "AKIA", "IOSFODNN7EXAMPLE"),
    ("aws_access_key", "ASIA", "Y34FZKBOKMUTVV7A"),
    ("aws_bedrock_key", "ABSK", ALNUM + ALNUM[:40] + "="),
    ("github_token", "ghp_", ALNUM[:36]),
    ("github_token", "gho_", ALNUM[:36]),
    ("github_token", "ghs_", ALNUM[:36]),
    ("github_token", "github_pat_", ALNUM[:22] + "_" + ALNUM[:59]),
    ("gitlab_token", "glpat-", ALNUM[:20]),
    ("gitlab_token", "glpat-", ALNUM[:27] + ".01.12" + ALNUM[:7]),
    ("anthropic_key", "sk-ant-", "api03-" + ALNUM[:40] + "-_" + ALNUM[:20] + "AA"),
    ("anthropic_key", "sk-ant-", "oat01-" + ALNUM[:40]),
    ("openai_key", "sk-proj-", ALNUM[:40] + "_-" + ALNUM[:20]),
    ("api_key", "sk-", ALNUM[:20] + "T3BlbkFJ" + ALNUM[:20]),
    ("api_key", "sk-or-v1-", HEX),
    ("api_key", "sk-lf-", "1f0c9d2e-7a44-4b5e-9c11-2f5f0f6a7b8c"),
    ("google_api_key", "AIza", "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"),
    ("google_oauth", "GOCSPX-", ALNUM[:28]),
    ("google_oauth", "ya29.", "a0" + ALNUM[:40]),
    ("slack_token", "xoxb-", "263594206564-" + ALNUM[:24]),
    ("slack_token", "xapp-", "1-A01234567-" + ALNUM[:30]),
    ("pypi_token", "pypi-", "AgEIcHlwaS5vcmcC" + ALNUM),
    ("npm_token", "npm_", ALNUM[:36]),
    ("huggingface_token", "hf_", ALNUM[:34]),
    ("stripe_key", "sk_live_", ALNUM[:24]),
    ("stripe_key", "rk_test_", ALNUM[:24]),
    ("webhook_secret", "whsec_", ALNUM[:32]),
    ("jwt", "eyJ", "hbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"),
    ("telegram_token", "110201543:", "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawQ"),
    ("sendgrid_key", "SG.", ALNUM[:22] + "." + ALNUM[:43]),
    ("groq_key", "gsk_", ALNUM[:52]),
    ("xai_key", "xai-", ALNUM[:80]),
    ("perplexity_key", "pplx-", ALNUM[:48]),
    ("replicate_token", "r8_", ALNUM[:37]),
    ("digitalocean_token", "dop_v1_", HEX),
    ("docker_token", "dckr_pat_", ALNUM[:27]),
    ("vault_token", "hvs.", ALNUM[:30]),
    ("linear_key", "lin_api_", ALNUM[:40]),
    ("notion_token", "ntn_", ALNUM[:46]),
    ("databricks_token", "dapi", HEX[:32]),
    ("shopify_token", "shpat_", HEX[:32]),
    ("age_key", "AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2),
    ("private_key", "-----BEGIN RSA PRIVATE KEY-----\n", PEM_BODY + "\n-----END RSA PRIVATE KEY-----"),
    (
        "private_key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\\n",
        PEM_BODY.replace("\n", "\\n") + "\\n-----END OPENSSH PRIVATE KEY-----",
    ),
    ("private_key", "-----BEGIN PRIVATE KEY-----\n", PEM_BODY),
]
CONTEXTS = [
    ("bearer_token", "Authorization: Bearer ", "mF_9.B5f-4.1JqM2345", ""),
    ("bearer_token", "curl -H 'authorization: bearer ", "abcdefghijklmnopqrstuvwxyz", "'"),
    ("basic_auth", "Authorization: Basic ", "QWxhZGRpbjpvcGVuIHNlc2FtZQ==", ""),
    ("url_password", "git clone https://alice:", "hunter2!", "@example.com/x.git"),
    ("url_password", "postgres://app:", "s3cr3t", "@db:5432/main"),
    ("password", 'password = "', "correct7horse", '"'),
    ("password", '{"api_key": "', "k9-not-a-shape-1", '"}'),
    ("password", 'PASSWORD="', "correct7horse", '"'),
    ("password", "SECRET_KEY=", ALNUM[:20], "\n"),
    ("password", "export HUB_TOKEN=", ALNUM[:20], ""),
    ("aws_secret_key", "aws_secret_access_key = ", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "\n"),
    ("azure_key", "AccountKey=", ALNUM + "==", ";EndpointSuffix=x"),
    ("slack_webhook", "https://hooks.slack.com/services/", "T00000000/B00000000/" + ALNUM[:24], ""),
]


@pytest.mark.parametrize(("kind", "head", "tail"), TOKENS)
@pytest.mark.parametrize("frame", ["{}", "before {} after", '{{"key":"{}"}}', "x={}\n", "({}).", "`{}`,"])
def test_a_token_of_a_known_shape_goes_as_a_whole(kind, head, tail, frame):
    """Only its kind is left of a token, and what stands around it stays."""
    token = head + tail
    assert Redactor().text(frame.format(token)) == frame.format(f"[redacted: {kind}]")


@pytest.mark.parametrize(("kind", "before", "secret", "after"), CONTEXTS)
def test_of_an_assignment_or_a_url_only_the_secret_goes(kind, before, secret, after):
    """A reader still sees which header, variable or host it was."""
    assert Redactor().text(before + secret + after) == f"{before}[redacted: {kind}]{after}"


@given(
    st.lists(
        st.sampled_from([head + tail for _, head, tail in TOKENS])
        | st.sampled_from(["".join(parts) for _, *parts in CONTEXTS])
        | st.sampled_from([literal for shape in SHAPES for literal in shape.literals])
        | st.sampled_from([" ", "\n", "-", "_", ".", "=", "'", '"', "a", "9"]),
        max_size=8,
    )
)
def test_the_quick_look_hides_nothing(pieces):
    """Looking for literals first finds what every expression run over the whole text would find."""
    text = "".join(pieces)
    assert Redactor()._spans(text) == _merged([span for shape in SHAPES for span in _matches(shape, text)])


def test_each_shape_has_a_sample():
    """No shape is in the table that no test has seen match."""
    assert {shape.kind for shape in SHAPES} == {kind for kind, *_ in TOKENS} | {kind for kind, *_ in CONTEXTS}


def test_findings_name_kind_and_line_and_never_the_value():
    """What a person is told about a secret does not repeat it."""
    token = "ghp_" + ALNUM[:36]
    text = f"line one\nmy token {token}\n\npassword: 'pa55word-one'\nknown-value-9\n"
    redactor = Redactor(["known-value-9"])
    assert redactor.find(text) == (
        Finding(kind="github_token", line=2),
        Finding(kind="password", line=4),
        Finding(kind="known_value", line=5),
    )
    assert "known-value-9" not in repr(redactor)
    assert redactor.find("nothing here") == ()


@pytest.mark.parametrize(
    "text",
    [
        "task-20261120T201500-7f3a and risk-based-assessment-of-things",
        "<div class='sk-toggleable__label-arrow sk-estimator-doc-link'>",
        "npm_config_registry=1 npm_package_dependencies_something_long",
        "from transformers import hf_hub_download",
        "bearer authentication-based protocols; the bearer of this letter",
        "https://example.com:8080/path@v1 and mailto:someone@example.com",
        "password = get_password('name')\npassword: \"<your password here 1>\"\ntoken = '${TOKEN1234}'",
        "API_KEY=$OPENAI_API_KEY\nSECRET_KEY=changeme",
        "a key begins with -----BEGIN PRIVATE KEY----- and ends likewise",
        "Authorization: Bearer $TOKEN",
        "sha256 446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d commit 0e63989",
        "1763712000:Apr and 12:Ab, ratio 1:A",
        "uuid 1f0c9d2e-7a44-4b5e-9c11-2f5f0f6a7b8c, eyJ is how a token begins",
    ],
)
def test_what_only_looks_like_a_secret_stays(text):
    """Words that begin like a token, placeholders, hashes and mentions are left alone."""
    assert Redactor().text(text) == text


def test_our_own_documents_and_source_hold_no_finding():
    """Prose and code of this project pass through unchanged, but for the key that the guide shows being held."""
    package = Path(brain_daemon.__file__).parent
    texts = [*package.rglob("*.py"), *package.parent.glob("*.md"), *package.parent.glob("docs/**/*.md")]
    assert len(texts) > 10
    shown = "AKIAIOSFODNN7" + "EXAMPLE"
    assert {str(path): found for path in texts if (found := Redactor().find(path.read_text().replace(shown, "")))} == {}


values = st.text(
    st.sampled_from(string.ascii_letters + string.digits + " /+%&=?\"'\\\n\té日\udcff"), min_size=8, max_size=40
).filter(lambda value: len(value.strip()) >= 8)
around = st.text(st.sampled_from("ab /+=%\n\"'é") | st.characters(exclude_characters="[]"), max_size=12)


def written(value: str) -> list[str]:
    """The spellings that are promised: as it is, in a URL and in JSON."""
    forms = [value, json.dumps(value)[1:-1]]
    try:
        return [
            *forms,
            quote(value, safe=""),
            quote(value),
            quote_plus(value),
            json.dumps(value, ensure_ascii=False)[1:-1],
        ]
    except UnicodeEncodeError:
        return forms


@given(st.lists(values, min_size=1, max_size=3), around, around)
def test_no_known_value_survives_in_any_spelling(known, before, after):
    """Plain, URL-encoded or JSON-escaped: it is gone, and a second look finds nothing more."""
    redactor = Redactor(known)
    forms = [form for value in known for form in written(value.strip())]
    redacted = redactor.text(before + after.join(forms) + after)
    assert [form for form in forms if form in redacted] == []
    assert redactor.text(redacted) == redacted
    assert redactor.find(redacted) == ()


@given(values, st.binary(max_size=5), st.binary(max_size=5), st.booleans())
def test_no_known_value_survives_inside_base64(value, before, after, url_safe):
    """At whatever place it stands in the encoded bytes, what is left decodes to something else."""
    data = value.strip().encode("utf-8", "surrogateescape")
    encoded = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(before + data + after).decode()
    redacted = Redactor([value]).text(f"basic {encoded} end")
    assert redacted.startswith("basic ")
    assert redacted.endswith(" end")
    left = redacted.removeprefix("basic ").removesuffix(" end").replace("[redacted: known_value]", "")
    assert "[redacted: known_value]" in redacted
    assert len(left) <= len(encoded) - len(data)


secrets_of_eight = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8, max_size=60).filter(
    lambda value: len(value.strip()) >= 8 and value not in "[redacted: known_value]"
)


@given(
    secrets_of_eight,
    st.binary(max_size=80),
    st.binary(max_size=80),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "\n", "\r\n", "\\n", "\n    "]),
    st.integers(4, 90),
)
def test_what_is_left_of_base64_does_not_decode_to_the_secret(value, before, after, url_safe, padded, end, width):
    """At any offset, in both alphabets, padded or not, in one line or in many of any width, read from any of its letters."""
    secret = value.strip().encode()
    encoded = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(before + secret + after).decode()
    encoded = encoded if padded else encoded.rstrip("=")
    lines = [encoded[n : n + width] for n in range(0, len(encoded), width)] if end else [encoded]
    redacted = Redactor([value]).text(end.join(lines))
    assert "[redacted: known_value]" in redacted
    for piece in (*redacted.split("[redacted: known_value]"), redacted.replace("[redacted: known_value]", "")):
        letters = (piece.replace(end, "") if end else piece).translate(str.maketrans("-_", "+/")).rstrip("=")
        for first in range(4):
            some = letters[first:]
            whole = some[: len(some) // 4 * 4]
            assert secret not in base64.b64decode(whole)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\\n", "\\r\\n", "\n  "])
def test_a_value_broken_into_lines_goes(end):
    """As `base64`, `fold` and `xxd -p` print it, and as that stands in a line of JSON."""
    value = "kw-" + ALNUM
    for form in (base64.b64encode(value.encode()).decode(), value, value.encode().hex()):
        text = "x: " + end.join(form[n : n + 19] for n in range(0, len(form), 19)) + " :y"
        redacted = Redactor([value]).text(text)
        assert redacted.startswith("x: [redacted: known_value]")
        assert redacted.endswith(" :y")
        assert len(redacted) < 40


@pytest.mark.parametrize("value", ["correct-horse+battery/staple", "sécret-of-some-length"])
def test_hex_and_base64_in_a_url_go(value):
    """In both cases of the hex digits, and with `+`, `/` and `=` of base64 as percent signs."""
    data = value.encode()
    encoded = base64.b64encode(b"\xfb\xff" + data).decode()
    percent = quote(encoded, safe="")
    for form in (data.hex(), data.hex().upper(), percent, re.sub("%..", lambda found: found[0].lower(), percent)):
        assert "[redacted: known_value]" in Redactor([value]).text(f"a={form}&b")


def test_values_that_are_learnt_later_are_known_at_once():
    """A redactor that was built before a key was read takes it out all the same."""
    learnt: list[str] = []
    redactor = Redactor(["known-value-9"], lambda: tuple(learnt))
    assert redactor.text("a later-value-1 b") == "a later-value-1 b"
    learnt.append("later-value-1")
    assert redactor.text("a later-value-1 b known-value-9") == "a [redacted: known_value] b [redacted: known_value]"
    assert "later-value" not in repr(redactor)


@given(st.binary(max_size=40), values)
def test_bytes_keep_all_but_the_secret(noise, value):
    """Bytes that are no text come through unchanged; the secret between them does not."""
    redactor = Redactor([value])
    secret = value.strip().encode("utf-8", "surrogateescape")
    data = b"\xff\x00" + noise + b"\n" + secret + b"\n" + noise
    assert secret not in redactor.bytes(data)
    if not redactor.find(noise.decode("utf-8", "surrogateescape")):
        assert redactor.bytes(noise) == noise


def test_the_longer_of_two_values_goes_as_a_whole():
    """A value that begins with another one leaves no tail."""
    assert Redactor(["abcdefgh", "abcdefghijkl"]).text("x abcdefghijkl y") == "x [redacted: known_value] y"


def test_a_value_of_several_lines_is_found_line_by_line():
    """A key file of several lines is known by each of its lines, since a log may hold one of them."""
    redactor = Redactor(["first-line-of-the-key\nsecond-line-of-the-key\n"])
    assert redactor.text("> second-line-of-the-key") == "> [redacted: known_value]"
    assert redactor.text("first-line-of-the-key\nsecond-line-of-the-key") == "[redacted: known_value]"


def test_short_values_are_not_values():
    """Seven characters or white space would redact half of every text."""
    assert Redactor(["yes", "  a  ", "1234567", ""]).text("yes 1234567 a") == "yes 1234567 a"


def test_a_token_bared_by_a_removal_goes_too():
    """What stood right behind another secret is looked at again."""
    two = "AKIA" + "IOSFODNN7EXAMPLE"
    known = "known-value-9"
    assert Redactor([known]).text(known + two) == "[redacted: known_value][redacted: aws_access_key]"


def test_the_number_of_looks_is_bounded(monkeypatch):
    """A text made to bare one token after another costs no more than so many looks."""
    monkeypatch.setattr(redaction, "_MAX_PASSES", 1)
    bared = "AKIA" + "IOSFODNN7EXAMPLE"
    assert Redactor(["known-value-9"]).text("known-value-9" + bared) == "[redacted: known_value]" + bared


def test_a_word_of_our_own_mark_is_no_secret():
    """It would be found in every mark again."""
    assert Redactor(["redacted", "[redacted: "]).text("[redacted: jwt] was redacted") == "[redacted: jwt] was redacted"


def test_a_value_that_no_bytes_stand_for_is_found_as_it_is():
    """Text from JSON may hold half a character."""
    assert Redactor(["\ud800-half-a-pair"]).text("x \ud800-half-a-pair") == "x [redacted: known_value]"


def test_clean_text_comes_back_itself():
    """No copy is made of it, with keys of a few services known."""
    prose = ("The quick brown fox jumps over the lazy dog, and so on: see the task list.\n" * 20)[:1000]
    redactor = Redactor([ALNUM[n : n + 30] for n in range(5)])
    assert redactor.text(prose) is prose


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "seed",
    ["eyJ-", "sk-", "://a:", "-----BEGIN PRIVATE KEY-----\n", "SG.-", "password='1a", "KEY=1a", "A" * 40, "bearer a"],
)
def test_a_hostile_text_costs_linear_time(seed):
    """Much text made of the beginnings of tokens is searched before the time of the test is over, which squares would take many times."""
    text = seed * (deep(200_000, 500_000) // len(seed))
    Redactor().find(text)
