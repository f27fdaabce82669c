"""Each scheme verifies what its sender signed and refuses the rest, by vectors and by variation."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.webhooks.delivery import (
    Handshake,
    Refused,
    Unjudged,
    Verdict,
    Verified,
    WhyRefused,
)
from service.webhooks.schemes import cloudinary, standard
from service.webhooks.schemes.adobe import Adobe
from service.webhooks.schemes.body_hmac import BodyHmac
from service.webhooks.schemes.cloudinary import Cloudinary
from service.webhooks.schemes.scheme import Scheme
from service.webhooks.schemes.sns import Sns
from service.webhooks.schemes.standard import Standard
from service.webhooks.schemes.token import Token
from service.webhooks.schemes.unverified import Unverified
from tests.support.webhooks import (
    CERTIFICATE_URL,
    KEY_PATH,
    KEY_URL,
    NOW,
    SUBSCRIBE_URL,
    TOPIC_ARN,
    adobe_headers,
    delivery,
    judged,
    private_key,
    public_pem,
    sns_message,
)

VECTORS = Path(__file__).parent / "vectors"
SNS_VECTORS: dict[str, Any] = json.loads((VECTORS / "sns.json").read_text())
ADOBE_VECTOR: dict[str, Any] = json.loads((VECTORS / "adobe.json").read_text())
CLOUDINARY_EAGER = (
    b'{"notification_type":"eager","eager":[{"transformation":"sp_full_hd/mp4","bytes":1055,'
    b'"url":"http://res.cloudinary.com/demo/video/upload/sp_full_hd/v1533125278/dog.mp4",'
    b'"secure_url":"https://res.cloudinary.com/demo/video/upload/sp_full_hd/v1533125278/dog.mp4"}],'
    b'"public_id":"dog",'
    b'"batch_id":"9b11fa058c61fa577f4ec516bf6ee756ac2aefef095af99aef1302142cc1694a"}'
)
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}

REFUSED_MISSING, REFUSED_MALFORMED = Refused("missing"), Refused("malformed")
MISMATCH = Refused("mismatch")


def no_secret(_: str) -> None:
    """Read no secret: these schemes need none."""


class TestRotation:
    """Secrets are rotated by listing two; one that cannot be read leaves the question open."""

    scheme = Token("x-token", ("old", "new"))

    @pytest.mark.parametrize(
        ("secrets", "given", "verdict"),
        [
            ({"old": "a", "new": "b"}, "a", Verified()),
            ({"old": "a", "new": "b"}, "b", Verified()),
            ({"old": "a", "new": "b"}, "c", MISMATCH),
            ({"new": "b"}, "b", Verified()),
            ({"new": "b"}, "c", Unjudged("secret")),
            ({"old": "", "new": "b"}, "", Unjudged("secret")),
            ({}, "a", Unjudged("secret")),
        ],
    )
    def test_each_secret_of_the_list_is_accepted(
        self, secrets: Mapping[str, str], given: str, verdict: Verdict
    ) -> None:
        assert judged(self.scheme, delivery({"X-Token": given}, b"{}"), secrets) == verdict

    def test_every_scheme_with_secrets_rotates(self) -> None:
        secrets = {"old": "whsec_b2xk", "new": "whsec_bmV3"}
        for scheme, headers in signed_by_all(secrets["new"]):
            assert judged(scheme, delivery(headers, BODY), secrets) == Verified(), scheme
            without = {"old": secrets["old"]}
            assert judged(scheme, delivery(headers, BODY), without) == Unjudged("secret"), scheme


BODY = b'{"a": "\xc3\xa9"}'


def signed_by_all(secret: str) -> list[tuple[Scheme, dict[str, str]]]:
    """Return each scheme with secrets, and the headers of a delivery that this secret signs."""
    names = ("old", "new")
    hmac_scheme = BodyHmac("x-hub-signature-256", names, "sha256", "hex", "sha256=")
    token = Token("x-token", names)
    return [
        (Cloudinary(names, 7200), cloudinary.signed(BODY, secret, int(NOW))),
        (Standard(names, 300), standard.signed(BODY, secret, "m", int(NOW))),
        (hmac_scheme, hmac_scheme.signed(BODY, secret)),
        (token, token.signed(secret)),
    ]


class TestCloudinary:
    """Cloudinary changed its hash function once; both are in use."""

    scheme = Cloudinary(("s",), 7200)

    @pytest.mark.parametrize(
        ("body", "timestamp", "secret", "signature"),
        [
            (
                CLOUDINARY_EAGER,
                "1549533514",
                "X7qLTrsES31MzxxkxPPA-pAGGfU",
                "dfe82de1d9083fe0b7ea68070649f9a15b8874da",
            ),
            (
                b"{}",
                "0",
                "someApiSecret",
                "d5497e1a206ad0ba29ad09a7c0c5f22e939682d15009c15ab3199f62fefbd14b",
            ),
        ],
    )
    def test_the_vectors_verify(
        self, body: bytes, timestamp: str, secret: str, signature: str
    ) -> None:
        """The vectors of pycloudinary, test/test_utils.py (MIT)."""
        headers = {"X-Cld-Timestamp": timestamp, "X-Cld-Signature": signature}
        given = delivery(headers, body, float(timestamp))
        assert judged(self.scheme, given, {"s": secret}) == Verified()

    def test_sha1_and_sha256_are_told_apart_by_their_length(self) -> None:
        for digest in (hashlib.sha1, hashlib.sha256):
            signature = digest(BODY + b"1700000000" + b"k").hexdigest()
            for written in (signature, signature.upper()):
                headers = {"X-Cld-Timestamp": "1700000000", "X-Cld-Signature": written}
                assert judged(self.scheme, delivery(headers, BODY), {"s": "k"}) == Verified()

    @pytest.mark.parametrize(
        ("timestamp", "why"),
        [
            (str(int(NOW) - 7200), None),
            (str(int(NOW) - 7201), "too_old"),
            (str(int(NOW) + 300), None),
            (str(int(NOW) + 301), "too_new"),
            ("1700000000.5", "malformed"),
            ("-1", "malformed"),
            ("\N{ARABIC-INDIC DIGIT ONE}", "malformed"),
            ("9" * 400, "malformed"),
            ("", "malformed"),
        ],
    )
    def test_a_timestamp_is_digits_and_recent(self, timestamp: str, why: WhyRefused | None) -> None:
        text = BODY + timestamp.encode() + b"k"
        headers = {
            "X-Cld-Timestamp": timestamp,
            "X-Cld-Signature": hashlib.sha256(text).hexdigest(),
        }
        verdict = judged(self.scheme, delivery(headers, BODY), {"s": "k"})
        assert verdict == (Refused(why) if why else Verified())

    @pytest.mark.parametrize(
        ("changed", "verdict"),
        [
            ({"x-cld-signature": None}, REFUSED_MISSING),
            ({"x-cld-timestamp": None}, REFUSED_MISSING),
            ({"x-cld-signature": ""}, REFUSED_MALFORMED),
            ({"x-cld-signature": "zz" * 32}, REFUSED_MALFORMED),
            ({"x-cld-signature": "ab" * 31}, REFUSED_MALFORMED),
            ({"x-cld-signature": "é" * 64}, REFUSED_MALFORMED),
            ({"x-cld-signature": "ab" * 32}, MISMATCH),
            ({"x-cld-timestamp": str(int(NOW) - 1)}, MISMATCH),
        ],
    )
    def test_anything_else_is_refused(
        self, changed: dict[str, str | None], verdict: Verdict
    ) -> None:
        headers = {**cloudinary.signed(BODY, "k", int(NOW)), **changed}
        present = {name: value for name, value in headers.items() if value is not None}
        assert judged(self.scheme, delivery(present, BODY), {"s": "k"}) == verdict


class TestStandard:
    """The headers are under the control of strangers: the reference library raises on some."""

    scheme = Standard(("s",), 300)

    def test_the_vector_verifies(self) -> None:
        given = delivery(STANDARD_VECTOR, b'{"test": 2432232314}', 1614265330)
        assert judged(self.scheme, given, {"s": STANDARD_SECRET}) == Verified()

    def test_the_reference_library_agrees(self) -> None:
        """What it signs verifies here, and what is signed here verifies there."""
        library = standardwebhooks.Webhook(STANDARD_SECRET)
        moment = datetime.now(UTC).replace(microsecond=0)
        now = int(moment.timestamp())
        headers = standard.signed(BODY, STANDARD_SECRET, "m1", now)
        library.verify(BODY, headers)
        signature = library.sign("m2", moment, "{}")
        theirs = {
            "webhook-id": "m2",
            "webhook-timestamp": str(now),
            "webhook-signature": signature,
        }
        given = delivery(theirs, b"{}", now)
        assert judged(self.scheme, given, {"s": STANDARD_SECRET}) == Verified()

    @pytest.mark.parametrize(
        ("signature", "verdict"),
        [
            ("v1,{good}", Verified()),
            ("v1,AAAA v1,{good}", Verified()),
            ("v2,{good} v1,{good}", Verified()),
            ("no-comma v1,{good}", Verified()),
            ("v1,AAAA", MISMATCH),
            ("v1a,{good}", MISMATCH),
            ("v2,{good}", REFUSED_MALFORMED),
            ("v1", REFUSED_MALFORMED),
            ("v1,é", REFUSED_MALFORMED),
            ("v1,", REFUSED_MALFORMED),
            (" ".join(["v1,AAAA"] * 20) + " v1,{good}", MISMATCH),
            ("", REFUSED_MISSING),
        ],
    )
    def test_one_matching_signature_is_enough(self, signature: str, verdict: Verdict) -> None:
        headers = standard.signed(BODY, STANDARD_SECRET, "m1", int(NOW))
        good = headers["webhook-signature"].removeprefix("v1,")
        headers["webhook-signature"] = signature.format(good=good)
        given = delivery(headers, BODY)
        assert judged(self.scheme, given, {"s": STANDARD_SECRET}) == verdict

    @pytest.mark.parametrize(
        ("ahead", "verdict"),
        [
            (-300, Verified()),
            (-301, Refused("too_old")),
            (300, Verified()),
            (301, Refused("too_new")),
        ],
    )
    def test_a_timestamp_is_recent(self, ahead: int, verdict: Verdict) -> None:
        headers = standard.signed(BODY, STANDARD_SECRET, "m1", int(NOW) + ahead)
        assert judged(self.scheme, delivery(headers, BODY), {"s": STANDARD_SECRET}) == verdict

    def test_a_public_key_verifies_v1a(self) -> None:
        key = Ed25519PrivateKey.generate()
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        public = "whpk_" + base64.b64encode(raw).decode()
        signature = base64.b64encode(key.sign(b"m1.1700000000." + BODY)).decode()
        headers = {
            "webhook-id": "m1",
            "webhook-timestamp": "1700000000",
            "webhook-signature": f"v1a,{signature}",
        }
        assert judged(self.scheme, delivery(headers, BODY), {"s": public}) == Verified()
        assert judged(self.scheme, delivery(headers, BODY + b" "), {"s": public}) == MISMATCH

    @pytest.mark.parametrize("secret", ["whpk_AAAA", "whsec_é", "whsec_", "whpk_", "A"])
    def test_a_secret_that_cannot_be_used_is_our_own_trouble(self, secret: str) -> None:
        headers = standard.signed(BODY, STANDARD_SECRET, "m1", int(NOW))
        assert judged(self.scheme, delivery(headers, BODY), {"s": secret}) == Unjudged("secret")
        assert self.scheme.flaw_of(secret) == "is neither whsec_… nor whpk_… with a key in base64"

    @pytest.mark.parametrize("secret", [STANDARD_SECRET, "AAAA", "whpk_" + "A" * 43])
    def test_a_secret_that_can_be_used_has_no_flaw(self, secret: str) -> None:
        assert self.scheme.flaw_of(secret) is None

    @pytest.mark.parametrize("missing", ["id", "timestamp", "signature"])
    @pytest.mark.parametrize(("prefix", "other"), [("webhook-", "svix-"), ("svix-", "webhook-")])
    def test_all_three_headers_are_needed(self, prefix: str, other: str, missing: str) -> None:
        """A header of the other kind of sender does not stand for the missing one."""
        headers = {
            name.replace("webhook-", prefix): value
            for name, value in standard.signed(BODY, STANDARD_SECRET, "m1", int(NOW)).items()
        }
        secrets = {"s": STANDARD_SECRET}
        assert judged(self.scheme, delivery(headers, BODY), secrets) == Verified()
        headers[other + missing] = headers.pop(prefix + missing)
        assert judged(self.scheme, delivery(headers, BODY), secrets) == REFUSED_MISSING

    def test_no_signature_reaches_a_topic(self) -> None:
        assert self.scheme.own_headers == {"webhook-signature", "svix-signature"}


class TestBodyHmac:
    """The most common scheme, in the forms that its senders use."""

    def test_the_vector_of_github_verifies(self) -> None:
        """GitHub's documentation, "Validating webhook deliveries"."""
        scheme = BodyHmac("x-hub-signature-256", ("s",), "sha256", "hex", "sha256=")
        digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        given = delivery({"X-Hub-Signature-256": f"sha256={digest}"}, b"Hello, World!")
        assert judged(scheme, given, {"s": "It's a Secret to Everybody"}) == Verified()

    @pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
    @pytest.mark.parametrize("encoding", ["hex", "base64"])
    @pytest.mark.parametrize("prefix", ["", "sha="])
    def test_every_form_verifies(
        self,
        digest: Literal["sha1", "sha256", "sha512"],
        encoding: Literal["hex", "base64"],
        prefix: str,
    ) -> None:
        scheme = BodyHmac("x-signature", ("s",), digest, encoding, prefix)
        raw = hmac.new(b"k", BODY, digest).digest()
        text = raw.hex() if encoding == "hex" else base64.b64encode(raw).decode()
        for written, verdict in (
            (prefix + text, Verified()),
            (prefix + text[:-4], REFUSED_MALFORMED if len(text[:-4]) % 2 else MISMATCH),
            ("other=" + text, REFUSED_MALFORMED),
            (prefix + "~", REFUSED_MALFORMED),
        ):
            given = delivery({"X-Signature": written}, BODY)
            assert judged(scheme, given, {"s": "k"}) == verdict, written
        assert judged(scheme, delivery({}, BODY), {"s": "k"}) == REFUSED_MISSING
        assert judged(scheme, delivery(scheme.signed(BODY, "k"), BODY), {"s": "k"}) == Verified()


class TestToken:
    """The weakest scheme, which some DAMs offer alone."""

    @pytest.mark.parametrize(
        ("header", "secret", "given", "verdict"),
        [
            ("x-token", "t", "t", Verified()),
            ("x-token", "t", "T", MISMATCH),
            ("x-token", "u:p", "Basic dTpw", MISMATCH),
            ("x-token", "ä", "ä", Verified()),
            ("authorization", "Bearer t", "Bearer t", Verified()),
            ("authorization", "Basic dTpw", "Basic dTpw", Verified()),
            ("authorization", "u:p", "Basic dTpw", Verified()),
            ("authorization", "u:p", "basic  dTpw", Verified()),
            ("authorization", "u:p", "Basic ~", MISMATCH),
            ("authorization", "u:p", "Bearer dTpw", MISMATCH),
        ],
    )
    def test_the_header_is_the_secret(
        self, header: str, secret: str, given: str, verdict: Verdict
    ) -> None:
        scheme = Token(header, ("s",))
        assert judged(scheme, delivery({header: given}, b""), {"s": secret}) == verdict

    def test_a_missing_header_is_refused(self) -> None:
        assert judged(Token("x-token", ("s",)), delivery({}, b""), {"s": "t"}) == REFUSED_MISSING

    def test_blanks_around_a_secret_are_not_sent(self) -> None:
        """HTTP takes them away, so a file that ends in one would refuse every webhook."""
        scheme = Token("authorization", ("s",))
        assert judged(scheme, delivery({"authorization": "t"}, b""), {"s": "\tt "}) == Verified()
        basic = {"authorization": "Basic " + base64.b64encode(b"u:p ").decode()}
        assert judged(scheme, delivery(basic, b""), {"s": "u:p "}) == Verified()
        assert judged(scheme, delivery(basic, b""), {"s": "u:p"}) == MISMATCH

    @pytest.mark.parametrize("secret", [" ", "\t ", "a\nb", "a\x00", "\x7f"])
    def test_a_secret_that_no_header_can_carry_verifies_nothing(self, secret: str) -> None:
        scheme = Token("x-token", ("s",))
        for given in ("", secret, secret.strip()):
            request = delivery({"x-token": given}, b"")
            assert judged(scheme, request, {"s": secret}) == Unjudged("secret")
        assert scheme.flaw_of(secret) is not None


def test_none_verifies_everything() -> None:
    assert judged(Unverified(), delivery({}, b"")) == Verified()


SNS_KEYS = {CERTIFICATE_URL: public_pem(private_key())}


class TestSns:
    """A message names its own certificate, so the host decides what it is worth."""

    scheme = Sns(frozenset({TOPIC_ARN}), confirms=True)

    @pytest.mark.parametrize(
        "message", SNS_VECTORS["messages"], ids=lambda message: str(message["MessageId"])
    )
    def test_the_messages_of_amazon_verify(self, message: dict[str, str]) -> None:
        """Real messages of both signature versions, with and without subject."""
        scheme = Sns(frozenset({message["TopicArn"]}), confirms=True)
        received = datetime.fromisoformat(message["Timestamp"]).timestamp()
        keys = {message["SigningCertURL"]: SNS_VECTORS["certificate"].encode()}
        body = json.dumps(message).encode()
        assert judged(scheme, delivery({}, body, received), keys=keys) == Verified()
        for name in ("Message", "MessageId", "Timestamp", "Signature"):
            changed = {**message, name: message[name].replace("2", "3", 1) + "A" * 4}
            if name == "Timestamp":
                changed[name] = message[name].replace("Z", "+00:00")
            verdict = judged(
                scheme, delivery({}, json.dumps(changed).encode(), received), None, keys
            )
            assert isinstance(verdict, Refused), name

    @pytest.mark.parametrize(
        ("members", "verdict"),
        [
            ({}, Verified()),
            ({"SignatureVersion": "1"}, Verified()),
            ({"Subject": "s"}, Verified()),
            ({"Subject": 7}, MISMATCH),  # only text is signed
            ({"SignatureVersion": "3"}, REFUSED_MALFORMED),
            ({"SignatureVersion": None}, REFUSED_MALFORMED),
            ({"Type": "Other"}, REFUSED_MISSING),
            ({"Type": None}, REFUSED_MISSING),
            ({"TopicArn": TOPIC_ARN + "2"}, Refused("recipient")),
            ({"Timestamp": "2023-11-14T21:13:19Z"}, Refused("too_old")),
            ({"Timestamp": "2023-11-14T22:18:21Z"}, Refused("too_new")),
            ({"Timestamp": "2023-11-14T22:00:00"}, Verified()),
            ({"Timestamp": "yesterday"}, REFUSED_MALFORMED),
            ({"Timestamp": None}, REFUSED_MALFORMED),
            ({"MessageId": None}, REFUSED_MALFORMED),
            ({"Signature": "~"}, REFUSED_MALFORMED),
            ({"Signature": "AAAA"}, MISMATCH),
        ],
    )
    def test_a_notification(self, members: dict[str, Any], verdict: Verdict) -> None:
        body = sns_message(private_key(), **members)
        assert judged(self.scheme, delivery({}, body), keys=SNS_KEYS) == verdict

    @pytest.mark.parametrize(
        "url",
        [
            "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0.pem",
            "https://evil.example/sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com:444/SimpleNotificationService-0.pem",
            "https://u@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem?x",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-../../x.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem\n",
            "https://sns.eu-west-1.amazonaws.com/Other-0.pem",
            "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.a.b.amazonaws.com/SimpleNotificationService-0.pem",
            "",
            None,
        ],
    )
    def test_a_certificate_comes_from_amazon_alone(self, url: str | None) -> None:
        """No other URL is fetched, whoever names it."""
        body = sns_message(private_key(), SigningCertURL=url)
        assert self.scheme.judge(delivery({}, body), no_secret) == Refused("foreign_key")

    def test_china_has_a_host_of_its_own(self) -> None:
        url = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0.pem"
        body = sns_message(private_key(), SigningCertURL=url)
        keys = {url: public_pem(private_key())}
        assert judged(self.scheme, delivery({}, body), keys=keys) == Verified()

    @pytest.mark.parametrize(
        "pem",
        [
            None,
            b"",
            b"-----BEGIN CERTIFICATE-----\n",
            ec_key(SECP256R1())
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ],
        ids=["none", "empty", "broken", "another algorithm"],
    )
    def test_a_certificate_that_cannot_be_had_leaves_the_question_open(
        self, pem: bytes | None
    ) -> None:
        keys = {} if pem is None else {CERTIFICATE_URL: pem}
        body = sns_message(private_key())
        assert judged(self.scheme, delivery({}, body), keys=keys) == Unjudged("key")

    def test_another_key_does_not_verify(self) -> None:
        body = sns_message(private_key(1))
        assert judged(self.scheme, delivery({}, body), keys=SNS_KEYS) == MISMATCH

    @pytest.mark.parametrize(
        ("members", "verdict"),
        [
            ({}, Handshake(SUBSCRIBE_URL)),
            ({"Type": "UnsubscribeConfirmation"}, Handshake(None)),
            ({"TopicArn": "arn:other"}, Refused("recipient")),
            ({"SubscribeURL": "https://evil.example/"}, Refused("foreign_key")),
            ({"SubscribeURL": SUBSCRIBE_URL.replace("/?", "@evil/?")}, Refused("foreign_key")),
            ({"SubscribeURL": None}, REFUSED_MALFORMED),
            ({"Token": None}, REFUSED_MALFORMED),
        ],
    )
    def test_a_subscription_is_confirmed_at_amazon_alone(
        self, members: dict[str, Any], verdict: Verdict
    ) -> None:
        body = sns_message(private_key(), **{"Type": "SubscriptionConfirmation", **members})
        assert judged(self.scheme, delivery({}, body), keys=SNS_KEYS) == verdict

    def test_a_person_confirms_where_the_file_says_so(self) -> None:
        body = sns_message(private_key(), Type="SubscriptionConfirmation")
        scheme = Sns(frozenset({TOPIC_ARN}), confirms=False)
        assert judged(scheme, delivery({}, body), keys=SNS_KEYS) == Handshake(None)

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"Type": ["Notification"]}', b"{}"]
    )
    def test_what_is_no_message_is_refused(self, body: bytes) -> None:
        assert isinstance(self.scheme.judge(delivery({}, body), no_secret), Refused)


ADOBE_BODY = b'{"recipient_client_id": "c", "event": 1}'
ADOBE_KEYS = {KEY_URL: public_pem(private_key())}


class TestAdobe:
    """Adobe signs twice, with two keys, of which one may be about to be withdrawn."""

    scheme = Adobe("c")

    def test_the_event_of_adobe_verifies(self) -> None:
        scheme = Adobe(ADOBE_VECTOR["client_id"])
        headers = {
            "x-adobe-digital-signature-2": ADOBE_VECTOR["signature"],
            "x-adobe-public-key2-path": KEY_PATH,
        }
        keys = {KEY_URL: ADOBE_VECTOR["public_key"].encode()}
        body = ADOBE_VECTOR["body"].encode()
        assert judged(scheme, delivery(headers, body), keys=keys) == Verified()
        assert judged(scheme, delivery(headers, body + b" "), keys=keys) == MISMATCH

    @pytest.mark.parametrize("member", ["recipient_client_id", "recipientclientid"])
    def test_the_event_is_for_this_project(self, member: str) -> None:
        for client_id, verdict in (("c", Verified()), ("d", Refused("recipient"))):
            body = json.dumps({member: client_id}).encode()
            headers = adobe_headers(body, private_key())
            assert judged(self.scheme, delivery(headers, body), keys=ADOBE_KEYS) == verdict

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"recipient_client_id": 1}', b"\xff"])
    def test_an_event_for_nobody_is_refused(self, body: bytes) -> None:
        headers = adobe_headers(body, private_key())
        verdict = judged(self.scheme, delivery(headers, body), keys=ADOBE_KEYS)
        assert verdict == Refused("recipient")

    @pytest.mark.parametrize(
        ("first", "second", "verdict"),
        [
            (private_key(), private_key(1), Verified()),
            (private_key(1), private_key(), Verified()),
            (private_key(1), private_key(1), MISMATCH),
        ],
    )
    def test_one_of_two_signatures_is_enough(
        self, first: RSAPrivateKey, second: RSAPrivateKey, verdict: Verdict
    ) -> None:
        headers = adobe_headers(ADOBE_BODY, first) | adobe_headers(ADOBE_BODY, second, 2)
        assert judged(self.scheme, delivery(headers, ADOBE_BODY), keys=ADOBE_KEYS) == verdict

    def test_a_key_that_cannot_be_had_does_not_hide_the_other(self) -> None:
        other_path = KEY_PATH.replace("0123", "4567")
        headers = adobe_headers(ADOBE_BODY, private_key()) | adobe_headers(
            ADOBE_BODY, private_key(), 2
        )
        headers["x-adobe-public-key1-path"] = other_path
        given = delivery(headers, ADOBE_BODY)
        assert judged(self.scheme, given, keys=ADOBE_KEYS) == Verified()
        assert judged(self.scheme, given, keys={}) == Unjudged("key")
        wrong = {KEY_URL: public_pem(private_key(1))}
        assert judged(self.scheme, given, keys=wrong) == Unjudged("key")

    @pytest.mark.parametrize(
        "path",
        [
            "prod/key.pem",
            "//evil.example/key.pem",
            "/../key.pem",
            "@evil.example/key.pem",
            ":444/key.pem",
            "/key.pem?x",
            "/key.pem#x",
            "/k\xe9y.pem",
            "/",
            "",
        ],
    )
    def test_a_key_comes_from_adobe_alone(self, path: str) -> None:
        headers = adobe_headers(ADOBE_BODY, private_key()) | {"x-adobe-public-key1-path": path}
        verdict = self.scheme.judge(delivery(headers, ADOBE_BODY), no_secret)
        assert verdict == Refused("foreign_key")

    @pytest.mark.parametrize(
        ("changed", "verdict"),
        [
            ({"x-adobe-digital-signature-1": None}, REFUSED_MISSING),
            ({"x-adobe-public-key1-path": None}, REFUSED_MISSING),
            ({"x-adobe-digital-signature-1": "~"}, REFUSED_MALFORMED),
        ],
    )
    def test_a_signature_needs_its_key(
        self, changed: dict[str, str | None], verdict: Verdict
    ) -> None:
        headers = {**adobe_headers(ADOBE_BODY, private_key()), **changed}
        present = {name: value for name, value in headers.items() if value is not None}
        assert self.scheme.judge(delivery(present, ADOBE_BODY), no_secret) == verdict

    @pytest.mark.parametrize(
        ("query", "answer"),
        [
            ("challenge=8ec8d794-e0ab", b'{"challenge":"8ec8d794-e0ab"}'),
            ("a=b&challenge=%22x%22", b'{"challenge":"\\"x\\""}'),
            ("challenge=", None),
            ("", None),
            ("challenge=%ff", '{"challenge":"\ufffd"}'.encode()),
        ],
    )
    def test_the_challenge_is_given_back(self, query: str, answer: bytes | None) -> None:
        assert self.scheme.answer_to_get(query) == answer

    def test_no_other_scheme_answers_a_get(self) -> None:
        others: tuple[Scheme, ...] = (Unverified(), TestSns.scheme, TestStandard.scheme)
        assert {scheme.answer_to_get("challenge=x") for scheme in others} == {None}
