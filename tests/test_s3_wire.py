"""What the S3 adapter says on the wire, and what it makes of answers that no well-behaved server gives."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hugesync_tasks import errors
from hugesync_tasks.lease import COMMIT_LEASE_MS
from hugesync_tasks.model import Meta, Part, Upload
from hugesync_tasks.stores import s3_errors
from hugesync_tasks.stores.base import MIB, Limits, Store
from hugesync_tasks.stores.refusal import Refusal
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.stores.s3 import S3Store
from hugesync_tasks.stores.s3_probe import probe
from hugesync_tasks.token import Token

UNCHECKED = Limits("scripted", list_order="utf8", probed=True)
CHECKED = dataclasses.replace(UNCHECKED, full_crc64=True)
ETAG = hashlib.md5(b"hello").hexdigest()
WHEN = {"Last-Modified": "Sat, 21 Nov 2026 02:38:16 GMT", "ETag": f'"{ETAG}"'}


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None  # bytes of the body after which the connection breaks


class Scripted:
    """A server that answers what a test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda request: Answer()
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, self.rfile.read(length))
                scripted.asked.append(request)
                answer = scripted.answer(request)
                if not answer.status:  # no answer at all
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    with suppress(ConnectionError):  # the adapter may have heard enough
                        self.wfile.write(answer.body[: answer.cut])
                self.close_connection = answer.cut is not None

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = serve

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # connections that adapters drop
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def store(self, limits: Limits | None = UNCHECKED) -> S3Store:
        return S3Store("bk", "p/", endpoint=self.endpoint, limits=limits)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETEXAMPLE")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    it = Scripted()
    yield it
    it.server.shutdown()
    it.server.server_close()


@pytest.fixture(params=["obstore", "boto3"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "boto3":
        monkeypatch.setattr("hugesync_tasks.stores.s3_small.S3Small.usable", lambda self, key: False)
    return str(request.param)


def error(code: str, status: int, **headers: str) -> Answer:
    return Answer(status, headers, f"<Error><Code>{code}</Code><Message>said so</Message></Error>".encode())


def test_conditions_are_sent_as_the_standard_has_them(scripted: Scripted, way: str) -> None:
    scripted.answer = lambda request: Answer(headers=WHEN, body=b"hello" if request.method == "GET" else b"")
    store = scripted.store()
    store.put("k", b"hello", Meta(), None, Token())
    store.put("k", b"hello", Meta(), ETAG, Token())
    store.put("k", b"hello", Meta(), "*", Token())
    with store.open("k", ETAG, Token()) as reader:
        list(reader)
    told = [(r.headers.get("if-none-match"), r.headers.get("if-match")) for r in scripted.asked]
    assert told == [("*", None), (None, f'"{ETAG}"'), (None, None), (None, f'"{ETAG}"')]
    assert {r.path for r in scripted.asked} == {"/bk/p/k"}


def of_checksums(request: Request) -> list[str]:
    """The headers by which newer SDKs send checksums, and refuse answers without them."""
    named = ("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer")
    return sorted(name for name in request.headers if name.startswith(named))


def test_an_unsigned_body_goes_out_only_with_a_checksum(scripted: Scripted, way: str) -> None:
    scripted.answer = lambda request: Answer(headers=WHEN)
    scripted.store(UNCHECKED).put("k", b"hello", Meta(), None, Token())
    scripted.store(CHECKED).put("k", b"hello", Meta(), None, Token())
    signed, unsigned = scripted.asked
    assert signed.headers["x-amz-content-sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert of_checksums(signed) == [], "an endpoint that did not pass the probe is sent what every S3 ever took"
    assert unsigned.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert unsigned.headers["x-amz-checksum-crc64nvme"] == "M3eFcAZSQlc="


def test_parts_are_signed_where_nothing_else_guards_them(scripted: Scripted) -> None:
    scripted.answer = lambda request: Answer(headers=WHEN)
    upload = Upload("k", "id", "", 5, 5 * MIB)
    scripted.store(UNCHECKED).put_part(upload, 1, b"hello", Token())
    scripted.store(CHECKED).put_part(upload, 1, b"hello", Token())
    signed, unsigned = scripted.asked
    assert signed.headers["x-amz-content-sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert unsigned.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert of_checksums(signed) == []
    assert of_checksums(unsigned) == ["x-amz-checksum-crc64nvme"]
    assert signed.body == unsigned.body == b"hello"


@pytest.mark.parametrize(
    ("answer", "cls"),
    [
        (error("SlowDown", 503), errors.Throttled),
        (error("TooManyRequests", 429), errors.Throttled),
        (Answer(503), errors.Throttled),
        (error("InternalError", 500), errors.Transient),
        (Answer(502, body=b"<html>bad gateway"), errors.Transient),
        (error("BadDigest", 400), errors.Corrupted),
        (error("PreconditionFailed", 412), errors.VersionMismatch),
        (error("ConditionalRequestConflict", 409), errors.VersionMismatch),
        (error("AccessDenied", 403), errors.AccessDenied),
        (error("ExpiredToken", 400), errors.BadCredentials),
        (error("NoSuchBucket", 404), errors.NoSuchBucket),
        (error("KeyTooLongError", 400), errors.BadName),
        (error("EntityTooLarge", 400), errors.TooLarge),
        (error("NotImplemented", 501), errors.Unsupported),
        (error("QuotaExceeded", 403), errors.NoSpace),
        (error("Strange", 418), errors.Permanent),
    ],
)
def test_every_refusal_has_its_class_by_either_way(
    scripted: Scripted, way: str, answer: Answer, cls: type[Exception]
) -> None:
    scripted.answer = lambda request: answer
    with pytest.raises(errors.StoreError) as caught:
        scripted.store().put("k", b"hello", Meta(), None, Token())
    assert type(caught.value) is cls
    assert len(scripted.asked) == 1, "the adapter must not retry"
    assert "SECRET" not in str(caught.value)
    assert "AKID" not in str(caught.value)


# one layer of retries

UPLOAD = Upload("k", "id", "", 5, 5 * MIB)
CALLS: dict[str, Callable[[Store], object]] = {
    "list": lambda s: list(s.list(Token())),
    "head": lambda s: s.head("k", Token()),
    "head for the digest": lambda s: s.head("k", Token(), digest=True),
    "open": lambda s: s.open("k", "", Token()),
    "open a large one": lambda s: s.open("k", "", Token(), 0, 100 * MIB),
    "put": lambda s: s.put("k", b"hello", Meta(), None, Token()),
    "put a large one": lambda s: s.put("k", bytes(9 * MIB), Meta(), None, Token()),
    "delete": lambda s: s.delete("k", "*", Token()),
    "copy": lambda s: s.copy(s, "to", "k", ETAG, Meta(), None, Token()),
    "create_upload": lambda s: s.create_upload("k", 5, 5 * MIB, Meta(), Token()),
    "put_part": lambda s: s.put_part(UPLOAD, 1, b"hello", Token()),
    "copy_part": lambda s: s.copy_part(UPLOAD, 1, s, "k", ETAG, 0, 5, Token()),
    "list_parts": lambda s: s.list_parts(UPLOAD, Token()),
    "complete": lambda s: s.complete(UPLOAD, [Part(1, 5, ETAG)], Meta(), None, None, Token()),
    "abort": lambda s: s.abort(UPLOAD, Token()),
    "list_uploads": lambda s: list(s.list_uploads(Token())),
}
FAILURES = {
    "500": error("InternalError", 500),
    "502": Answer(502, body=b"<html>bad gateway"),
    "SlowDown": error("SlowDown", 503),
    "no answer": Answer(0),
}


TWO_WAYS = ("head", "open", "put")  # of the others boto3 makes all


@pytest.fixture(params=[*CALLS, *(f"{call} by boto3" for call in TWO_WAYS)])
def call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = str(request.param).removesuffix(" by boto3")
    if name != request.param:
        monkeypatch.setattr("hugesync_tasks.stores.s3_small.S3Small.usable", lambda self, key: False)
    return name


def test_a_call_that_fails_is_sent_once_by_the_adapter_and_as_often_as_was_asked_for_by_the_wrapper(
    call: str, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment asks of the SDK: a retry inside a retry multiplies."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "4")
    monkeypatch.setenv("AWS_RETRY_MODE", "standard")
    store = scripted.store(CHECKED)
    for name, failure in FAILURES.items():
        scripted.answer = lambda request, failure=failure: failure  # type: ignore[misc]
        for attempts, asked in ((1, store), (3, RetryingStore(store, attempts=3, sleep=lambda _: None))):
            scripted.asked.clear()
            with pytest.raises(errors.Transient):
                CALLS[call](asked)
            assert len(scripted.asked) == attempts, name
    store.close()


def test_what_needs_a_person_is_asked_for_once(call: str, scripted: Scripted) -> None:
    store = RetryingStore(scripted.store(CHECKED), attempts=3, sleep=lambda _: None)
    for code in ("AccessDenied", "SignatureDoesNotMatch", "NoSuchBucket", "KMS.DisabledException"):
        scripted.answer = lambda request, code=code: error(code, 403)  # type: ignore[misc]
        scripted.asked.clear()
        with pytest.raises(errors.NeedsPerson):
            CALLS[call](store)
        assert len(scripted.asked) == 1, code
    store.close()


# what a vendor's code means is decided once

CLASSES: dict[type[errors.StoreError], str] = {
    errors.NotFound: "NoSuchKey NotFound",
    errors.NoSuchBucket: "NoSuchBucket",
    errors.NoSuchUpload: "NoSuchUpload",
    errors.VersionMismatch: "PreconditionFailed ConditionalRequestConflict",
    errors.Corrupted: "BadDigest InvalidDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch",
    errors.Transient: "IncompleteBody RequestTimeout OperationAborted InternalError "
    "KMS.KMSInternalException KMS.DependencyTimeoutException",
    errors.Throttled: "SlowDown Throttling ThrottlingException ThrottledException RequestThrottled "
    "RequestThrottledException TooManyRequests TooManyRequestsException RequestLimitExceeded BandwidthLimitExceeded "
    "KMS.ThrottlingException",
    errors.AccessDenied: "AccessDenied AllAccessDisabled AccountProblem InvalidObjectState KMS.DisabledException "
    "KMS.KMSInvalidStateException KMS.NotFoundException KMS.KeyUnavailableException KMS.AccessDeniedException",
    errors.BadCredentials: "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken TokenRefreshRequired "
    "AuthorizationHeaderMalformed RequestTimeTooSkewed",
    errors.TooLarge: "EntityTooLarge",
    errors.BadName: "KeyTooLongError KeyTooLong InvalidObjectName InvalidURI",
    errors.Unsupported: "NotImplemented MethodNotAllowed",
    errors.Permanent: "InvalidRange",
    errors.NoSpace: "QuotaExceeded InsufficientStorage XMinioStorageFull",
}
CODES = {code: cls for cls, codes in CLASSES.items() for code in codes.split()}
STATUSES = {
    400: errors.Permanent, 401: errors.BadCredentials, 403: errors.AccessDenied, 404: errors.NotFound,
    405: errors.Unsupported, 408: errors.Transient, 409: errors.VersionMismatch, 412: errors.VersionMismatch,
    413: errors.TooLarge, 416: errors.Permanent, 418: errors.Permanent, 429: errors.Throttled, 500: errors.Transient,
    501: errors.Unsupported, 502: errors.Transient, 503: errors.Throttled, 504: errors.Transient, 507: errors.NoSpace,
    0: errors.Transient,
}  # fmt: skip


def test_the_table_of_codes_is_complete() -> None:
    assert sum(len(codes.split()) for codes in CLASSES.values()) == len(CODES), "a code stands twice"
    assert {code for code in CODES if not code.startswith("KMS.")} == set(s3_errors._CODES)
    assert set(s3_errors._STATUSES) <= set(STATUSES)


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_one_class_whatever_the_status(code: str) -> None:
    found = {type(s3_errors.error_of(Refusal(status, code), "write", "k")) for status in (400, 403, 503)}
    assert found == {CODES[code]}


@pytest.mark.parametrize("status", STATUSES)
def test_an_answer_without_a_code_we_know_is_classed_by_its_status(status: int) -> None:
    for code in ("", "SomethingNew"):
        assert type(s3_errors.error_of(Refusal(status, code), "write", "k")) is STATUSES[status]


def every_class(of: type[errors.StoreError] = errors.StoreError) -> Iterator[type[errors.StoreError]]:
    for cls in of.__subclasses__():
        yield cls
        yield from every_class(cls)


def test_each_class_of_error_is_transient_or_permanent_or_for_a_person_and_only_one_of_them() -> None:
    for cls in every_class():
        kinds = [k for k in (errors.Transient, errors.Permanent, errors.NeedsPerson) if issubclass(cls, k)]
        assert len(kinds) == 1, cls
        told = cls.failure_class
        assert (told is errors.FailureClass.TRANSIENT) == (kinds == [errors.Transient]), cls
        assert (told is errors.FailureClass.NEEDS_PERSON) == (kinds == [errors.NeedsPerson]), cls


def test_retry_after_is_passed_on(scripted: Scripted) -> None:
    scripted.answer = lambda request: error("SlowDown", 503, **{"Retry-After": "7"})
    with pytest.raises(errors.Throttled) as caught:
        list(scripted.store().list(Token()))
    assert caught.value.retry_after == 7.0


def test_a_complete_that_answers_200_with_an_error_has_not_happened(scripted: Scripted) -> None:
    scripted.answer = lambda request: error("InternalError", 200)
    upload = Upload("k", "id", "", 5, 5 * MIB)
    with pytest.raises(errors.Transient):
        scripted.store().complete(upload, [Part(1, 5, ETAG)], Meta(), None, None, Token())


def test_complete_says_size_condition_and_checksum(scripted: Scripted) -> None:
    body = f"<CompleteMultipartUploadResult><ETag>&quot;{ETAG}-1&quot;</ETag></CompleteMultipartUploadResult>".encode()
    scripted.answer = lambda request: Answer(body=body)
    upload = Upload("k", "id", "", 5, 5 * MIB)
    commit = scripted.store(CHECKED).complete(upload, [Part(1, 5, ETAG)], Meta(), "v", 0x3377857006524257, Token())
    (asked,) = scripted.asked
    assert asked.headers["if-match"] == '"v"'
    assert asked.headers["x-amz-mp-object-size"] == "5"
    assert asked.headers["x-amz-checksum-crc64nvme"] == "M3eFcAZSQlc="
    assert asked.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert (commit.version, commit.proven) == (f"{ETAG}-1", "crc64nvme")


def test_what_a_store_may_do_for_minutes_is_waited_for_and_the_lease_outlives_the_wait(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f"<X><ETag>&quot;{ETAG}&quot;</ETag></X>".encode()
    scripted.answer = lambda request: Answer(headers=WHEN, body=b"" if request.method == "HEAD" else body)
    store, upload, waits = scripted.store(), Upload("k", "id", "", 5, 5 * MIB), []
    made = store.clients._client

    def client(name: str) -> object:
        found = made(name)
        waits.append(found.meta.config.read_timeout)
        return found

    monkeypatch.setattr(store.clients, "_client", client)
    seen = {}
    for what, call in {
        "part": lambda: store.put_part(upload, 1, b"hello", Token()),
        "copied part": lambda: store.copy_part(upload, 1, store, "s", ETAG, 0, 5, Token()),
        "complete": lambda: store.complete(upload, [Part(1, 5, ETAG)], Meta(), None, None, Token()),
        "copy": lambda: store.copy(store, "k", "s", ETAG, Meta(), None, Token()),
    }.items():
        waits.clear()
        call()
        seen[what] = max(waits)
    assert seen == {"part": 60, "copied part": 900, "complete": 900, "copy": 900}
    assert COMMIT_LEASE_MS == (900 + 30) * 1000


@pytest.mark.parametrize("size", [5, 3 * MIB])
def test_a_body_that_breaks_off_is_an_error_and_never_short(scripted: Scripted, way: str, size: int) -> None:
    scripted.answer = lambda request: Answer(headers=WHEN, body=b"x" * size, cut=size - 2)
    with pytest.raises(errors.Transient), scripted.store().open("k", "", Token()) as reader:
        list(reader)


def test_another_version_than_asked_for_is_refused_where_if_match_is_not_known(scripted: Scripted, way: str) -> None:
    scripted.answer = lambda request: Answer(headers=WHEN, body=b"hello")
    with pytest.raises(errors.VersionMismatch):
        scripted.store().open("k", "0" * 32, Token())


def test_an_etag_that_is_not_the_md5_of_what_was_sent_is_corruption(scripted: Scripted, way: str) -> None:
    scripted.answer = lambda request: Answer(headers=WHEN)
    store = scripted.store(dataclasses.replace(UNCHECKED, etag_is_md5=True))
    assert store.put("k", b"hello", Meta(), None, Token()).proven == "md5"
    with pytest.raises(errors.Corrupted):
        store.put("k", b"jello", Meta(), None, Token())
    upload = Upload("k", "id", "", 5, 5 * MIB)
    store.put_part(upload, 1, b"hello", Token())
    with pytest.raises(errors.Corrupted):
        store.put_part(upload, 1, b"jello", Token())


def test_storage_class_and_kms_key_are_sent(scripted: Scripted, way: str) -> None:
    scripted.answer = lambda request: Answer(headers=WHEN)
    store = scripted.store()
    store.put("k", b"hello", Meta(storage_class="STANDARD_IA"), None, Token())
    store.put("k", b"hello", Meta(sse_kms_key="key-1"), None, Token())
    plain, encrypted = scripted.asked
    assert plain.headers["x-amz-storage-class"] == "STANDARD_IA"
    assert encrypted.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert encrypted.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"


def test_a_session_token_of_the_environment_never_joins_the_keys_of_a_profile(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    path = os.path.join(tmp_path, "credentials")
    with open(path, "w") as f:
        f.write("[other]\naws_access_key_id = PROFILEKEY\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", path)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "ENVTOKEN")
    scripted.answer = lambda request: Answer(headers=WHEN)
    S3Store("bk", "p/", profile="other", endpoint=scripted.endpoint, limits=UNCHECKED).put(
        "k", b"hello", Meta(), None, Token()
    )
    (asked,) = scripted.asked
    assert "PROFILEKEY" in asked.headers["authorization"]
    assert "x-amz-security-token" not in asked.headers


def test_renewed_credentials_are_used_at_once(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    from hugesync_tasks.stores.s3_client import Credentials, S3Clients

    now = ["FIRSTKEY"]
    monkeypatch.setattr(S3Clients, "credentials", lambda self: Credentials(now[0], "s", "t"))
    scripted.answer = lambda request: Answer(headers=WHEN)
    store = scripted.store()
    store.put("k", b"", Meta(), None, Token())
    now[0] = "SECONDKEY"
    store.put("k", b"", Meta(), None, Token())
    first, second = scripted.asked
    assert "FIRSTKEY" in first.headers["authorization"]
    assert "SECONDKEY" in second.headers["authorization"]


PAGE = """<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>{more}</IsTruncated>{token}
<EncodingType>url</EncodingType>{rows}</ListBucketResult>"""
ROW = "<Contents><Key>p/{}</Key><LastModified>2026-11-21T02:38:16.250Z</LastModified><ETag>&quot;e&quot;</ETag><Size>3</Size></Contents>"


def page(keys: str, token: str = "") -> Answer:
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    rows = "".join(ROW.format(k) for k in keys.split())
    return Answer(body=PAGE.format(more="true" if token else "false", token=following, rows=rows).encode())


def test_a_server_in_byte_order_is_streamed_and_asked_to_start_after(scripted: Scripted) -> None:
    scripted.answer = lambda request: page("c+d") if "continuation-token=T1" in request.path else page("a%2Bb b", "T1")
    listing = scripted.store().list(Token(), "a")
    assert next(listing).key == "a+b"
    assert len(scripted.asked) == 1, "the first page must come out before the second is asked for"
    entry = list(listing)[-1]
    assert (entry.key, entry.size, entry.version) == ("c d", 3, "e")
    assert entry.modified_ns == 1_795_228_696_250_000_000
    assert "start-after=p%2Fa" in scripted.asked[0].path
    assert "encoding-type=url" in scripted.asked[0].path


@pytest.mark.parametrize(
    "body", [b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", b"<html>", b""]
)
def test_a_listing_that_cannot_be_read_or_continued_never_ends_in_silence(scripted: Scripted, body: bytes) -> None:
    scripted.answer = lambda request: Answer(body=body)
    with pytest.raises(errors.Transient):
        list(scripted.store().list(Token()))


def test_a_server_that_repeats_a_page_is_not_followed_for_ever(scripted: Scripted) -> None:
    scripted.answer = lambda request: page("", "SAME")
    with pytest.raises(errors.Transient, match="repeats"):
        list(scripted.store().list(Token()))


def test_the_probe_believes_nothing_of_a_server_that_says_yes_to_everything(scripted: Scripted) -> None:
    def yes(request: Request) -> Answer:
        if "uploads" in request.path:
            return Answer(body=b"<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>")
        if request.method == "POST":
            return Answer(body=b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
        return page("") if request.method == "GET" else Answer(headers={"ETag": '"random"'})

    scripted.answer = yes
    limits = probe(scripted.store(None), Token())
    assert limits.conditional_commit == "none"
    believed = (limits.full_crc64, limits.etag_is_md5, limits.part_conditional, limits.delete_conditional)
    assert believed == (False, False, False, False)
    assert limits.list_order == "none"
    last = scripted.asked[-1]
    assert (last.method, "uploadId" in last.path) == ("DELETE", False), "what was taken must be deleted again"
    assert limits.probed
    assert len(scripted.asked) <= 8


def test_the_probe_undoes_a_complete_with_a_wrong_checksum_that_was_taken(scripted: Scripted) -> None:
    def careless(request: Request) -> Answer:
        if "uploads" in request.path:
            return Answer(body=b"<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>")
        if request.method == "PUT" and request.headers.get("x-amz-checksum-crc64nvme") == "xS3KfDK3Kxk=":
            return error("BadDigest", 400)
        if "if-match" in request.headers:
            return error("PreconditionFailed", 412)
        if request.method == "POST":
            return Answer(body=b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
        return page("") if request.method == "GET" else Answer(headers={"ETag": '"random"'})

    scripted.answer = careless
    limits = probe(scripted.store(None), Token())
    assert limits.conditional_commit == "enforced"
    assert not limits.full_crc64
    last = scripted.asked[-1]
    assert last.method == "DELETE"
    assert "uploadId" not in last.path
