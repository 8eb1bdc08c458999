"""What an API's refusal means: its class by the provider's word before its status, and when it may work again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_daemon.adapters.http_errors import ApiRefused, error_message, failure_of
from brain_daemon.model.outcome import FailureKind

NOW = 1_795_260_000.0  # 2026-11-21T11:20:00Z

GOOGLE_KEY = [
    {
        "error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
        }
    }
]


def google_quota(quota_id):
    violations = [{"quotaId": quota_id, "quotaValue": "20"}]
    details = [{"violations": violations}, {"@type": "RetryInfo", "retryDelay": "41s"}]
    return {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, GOOGLE_KEY, "auth"),
        (429, google_quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), "quota"),
        (429, google_quota("GenerateRequestsPerMinutePerProjectPerModel"), "rate_limit"),
        (429, {"code": "insufficient_quota", "message": "check your plan"}, "quota"),
        (402, {"message": "Insufficient credits"}, "quota"),
        (400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to..."}}, "quota"),
        (400, {"error": {"message": "prompt is too long: 208310 tokens > 200000 maximum"}}, "context_too_long"),
        (400, {"error": {"message": "This model's maximum context length is 8192 tokens."}}, "context_too_long"),
        (400, {"error": {"message": "The input token count (1100000) exceeds the maximum"}}, "context_too_long"),
        (413, {"error": {"type": "request_too_large", "message": "big"}}, "context_too_long"),
        (413, "<html>Entity Too Large</html>", "context_too_long"),
        (404, {"error": "model 'llama9' not found, try pulling it first"}, "permanent"),
        (422, {"detail": "wrong"}, "permanent"),
        (408, None, "transient"),
        (503, "<html>Service Unavailable</html>", "transient"),
        (None, {"type": "server_error", "message": "had an error"}, "transient"),
        (None, {"code": 429, "message": "Rate limited upstream"}, "rate_limit"),
        (None, {"code": "rate_limit_exceeded", "message": "slow down"}, "rate_limit"),
        (200, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "transient"),
        (None, None, "transient"),
    ],
)
def test_each_way_of_saying_no_has_its_class(status, body, kind):
    """The table of what providers were seen to answer."""
    assert failure_of(ApiRefused(status, body), now=NOW).kind is FailureKind(kind)


@pytest.mark.parametrize(
    ("headers", "retry_after", "resets_at"),
    [
        ({"retry-after-ms": "250"}, 0.25, None),
        ({"Retry-After": "30"}, 30.0, None),
        ({"Retry-After": "Sat, 21 Nov 2026 11:20:45 GMT"}, 45.0, None),
        ({"Retry-After": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0, None),
        ({"Retry-After": "soon"}, None, None),
        ({"Retry-After": "-5"}, None, None),
        ({"Retry-After": "nan"}, None, None),
        ({"x-ratelimit-reset-requests": "6m0s"}, None, NOW + 360),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "8.64s",
                "x-ratelimit-remaining-tokens": "999",
                "x-ratelimit-reset-tokens": "1h",
            },
            None,
            NOW + 8.64,
        ),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-21T11:21:00Z",
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-21T11:22:00Z",
            },
            None,
            NOW + 120,
        ),
        ({"anthropic-ratelimit-unified-reset": "1795267200"}, None, 1_795_267_200.0),
        ({"X-RateLimit-Reset": "1795267200000"}, None, 1_795_267_200.0),
        ({"x-ratelimit-reset": "15"}, None, NOW + 15),
        ({"anthropic-ratelimit-requests-reset": "2020-01-01T00:00:00Z"}, None, None),
        ({"x-ratelimit-reset": "whenever"}, None, None),
    ],
)
def test_a_wait_is_read_in_each_form_it_is_told(headers, retry_after, resets_at):
    """Milliseconds, seconds, a date; a reset as a duration, as seconds or milliseconds since 1970, or as ISO 8601."""
    failed = failure_of(ApiRefused(429, {"message": "slow"}, headers), now=NOW)
    assert failed.retry_after_seconds == retry_after
    assert failed.resets_at == (None if resets_at is None else pytest.approx(resets_at))


def test_googles_wait_stands_in_the_body():
    """It sends no header for it."""
    assert failure_of(ApiRefused(429, google_quota("PerMinute")), now=NOW).retry_after_seconds == 41


def test_a_failure_that_no_wait_mends_has_none():
    """A wrong key does not become right at a reset."""
    failed = failure_of(ApiRefused(401, {"message": "no"}, {"retry-after": "5", "x-ratelimit-reset": "5"}), now=NOW)
    assert (failed.retry_after_seconds, failed.resets_at) == (None, None)


def test_the_providers_sentence_is_found_or_is_empty():
    """In each place where it was seen."""
    assert error_message({"error": {"message": "a"}}) == error_message([{"error": {"message": "a"}}]) == "a"
    assert error_message({"message": "a"}) == error_message({"error": "a"}) == "a"
    assert error_message("a") == error_message(None) == error_message([]) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "code", "message", "type", "status", "details", "reason", "violations", "retryDelay"]),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    st.none() | st.integers(100, 599),
    json_values,
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset"]), st.text(max_size=30)),
)
def test_nothing_that_a_server_says_breaks_the_reading(status, body, headers):
    """Whatever it is, it is a class and a sentence without control characters."""
    failed = failure_of(ApiRefused(status, body, headers), now=NOW)
    assert failed.message
    assert "\x1b" not in failed.message
    assert failed.retry_after_seconds is None or failed.retry_after_seconds >= 0
