"""A broker with permissions, whose users log in by SCRAM, TLS or tokens.

A listener is for administration.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trustme
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from service.playground.embedded_kafka import EmbeddedKafka, free_ports, started
from tests.support.service import SystemUnderTest

PASSWORD = "a password of the tests"
LISTENERS = """
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},\
SCRAM://127.0.0.1:{scram},TLS://127.0.0.1:{tls},MUTUAL://127.0.0.1:{mutual},\
TOKENS://127.0.0.1:{tokens}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SCRAM://127.0.0.1:{scram},\
TLS://127.0.0.1:{tls},MUTUAL://127.0.0.1:{mutual},TOKENS://127.0.0.1:{tokens}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,\
CONTROLLER:PLAINTEXT,SCRAM:SASL_PLAINTEXT,TLS:SASL_SSL,MUTUAL:SSL,TOKENS:SASL_PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.scram.scram-sha-256.sasl.jaas.config={login}
listener.name.scram.scram-sha-512.sasl.jaas.config={login}
listener.name.tls.scram-sha-512.sasl.jaas.config={login}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
listener.name.tokens.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.tokens.oauthbearer.sasl.jaas.config={tokens_login}
listener.name.tokens.oauthbearer.connections.max.reauth.ms={session_ms}
listener.name.tls.sasl.enabled.mechanisms=SCRAM-SHA-512
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mutual.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$/$1/
"""

LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
TOKENS_LOGIN = (
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
    'unsecuredLoginStringClaim_sub="broker";'
)
"""The broker takes tokens without a signature, and looks at their subject and their end."""
SESSION_SECONDS = 4
"""How long a session of a client with tokens lasts."""

TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5
LITERAL, PREFIXED = 3, 4
READ, WRITE, DESCRIBE = 3, 4, 8
ALLOW = 3


@dataclass(frozen=True)
class Permission:
    """A permission of a user on a resource, with Kafka's numbers."""

    resource: int
    name: str
    operation: int
    pattern: int = LITERAL


def permissions(system: SystemUnderTest) -> dict[str, Permission]:
    """Return the permissions of contract.md §5."""
    group = system.group
    return {
        "read events": Permission(TOPIC, system.events, READ),
        "describe events": Permission(TOPIC, system.events, DESCRIBE),
        "write outcomes": Permission(TOPIC, system.outcomes, WRITE),
        "describe outcomes": Permission(TOPIC, system.outcomes, DESCRIBE),
        "write dead letters": Permission(TOPIC, system.dead_letters, WRITE),
        "describe dead letters": Permission(TOPIC, system.dead_letters, DESCRIBE),
        "read group": Permission(GROUP, group, READ),
        "write transactional id": Permission(TRANSACTIONAL_ID, f"{group}.", WRITE, PREFIXED),
        "describe transactional id": Permission(TRANSACTIONAL_ID, f"{group}.", DESCRIBE, PREFIXED),
    }


class SecuredKafka(EmbeddedKafka):
    """A broker; `bootstrap_servers` is for administration, users connect by the other listeners."""

    def __init__(self, folder: Path, classpath: str, java: Path, users: Iterable[str]) -> None:
        super().__init__(folder, classpath, java)
        self._users = tuple(users)
        scram, tls, mutual, tokens = free_ports(4)
        self.scram = f"127.0.0.1:{scram}"
        self.tls = f"127.0.0.1:{tls}"
        self.tokens = f"127.0.0.1:{tokens}"
        self.mutual = f"127.0.0.1:{mutual}"
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)
        certificate = self.ca.issue_cert("127.0.0.1", "localhost")
        (folder / "broker.pem").write_bytes(_key_and_chain(certificate))
        ports = {"port": self._port, "controller": self._controller}
        ports |= {"scram": scram, "tls": tls, "mutual": mutual, "tokens": tokens}
        with self._properties.open("a") as properties:
            properties.write(
                LISTENERS.format(
                    **ports,
                    folder=folder,
                    login=LOGIN,
                    tokens_login=TOKENS_LOGIN,
                    session_ms=SESSION_SECONDS * 1000,
                )
            )

    def format(self, *options: str) -> None:
        """Prepare the data folder with the users."""
        users = [
            f"{mechanism}=[name={user},password={PASSWORD}]"
            for user in self._users
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        super().format(*options, *(word for user in users for word in ("--add-scram", user)))

    def certificate_of(self, user: str, folder: Path, ca: trustme.CA | None = None) -> Path:
        """Write the user's certificate and its key, encrypted by `PASSWORD`; return the file."""
        certificate = (ca or self.ca).issue_cert(f"{user}.example", common_name=user)
        path = folder / f"{user}.pem"
        path.write_bytes(_key_and_chain(certificate, BestAvailableEncryption(PASSWORD.encode())))
        return path

    async def grant(self, user: str, permissions: Iterable[Permission]) -> None:
        """Grant these permissions to the user."""
        for permission in permissions:
            fields = (permission.resource, permission.name, permission.pattern, f"User:{user}", "*")
            await self._administer(CreateAclsRequest(*fields, permission.operation, ALLOW))

    async def revoke(self, user: str, permission: Permission) -> None:
        """Revoke this permission of the user."""
        fields = (permission.resource, permission.name, permission.pattern, f"User:{user}", "*")
        await self._administer(DeleteAclsRequest(*fields, permission.operation, ALLOW))

    async def _administer(self, request: CreateAclsRequest | DeleteAclsRequest) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            response = await admin._send_request(request)
            assert response.to_object()[next(iter(response.to_object()))] is not None
        finally:
            await admin.close()


def _key_and_chain(
    certificate: trustme.LeafCert, lock: KeySerializationEncryption | None = None
) -> bytes:
    """Return the key, in PKCS #8 as Java expects it, and the certificates."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), password=None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption())
    return pkcs8 + b"".join(blob.bytes() for blob in certificate.cert_chain_pems)


@contextlib.contextmanager
def secured_kafka(users: Iterable[str]) -> Iterator[SecuredKafka]:
    """A running broker with these users, who have no permissions yet."""
    with started(partial(SecuredKafka, users=users)) as broker:
        yield broker
