"""Settings: readable errors, and secrets from files that are never shown."""

from pathlib import Path

import pytest

from service.core.limits import DecodeLimits, Limits, StructureOptions
from service.settings import SettingsError, load, load_without_pim

MINIMUM = {
    "ASSET_SYNC_PIM__BASE_URL": "https://pim.example",
    "ASSET_SYNC_PIM__APP_TOKEN": "t0p-secret",
}


def problem(**more: str) -> str:
    """Return the error message for these settings."""
    given = MINIMUM | {f"ASSET_SYNC_{name}": value for name, value in more.items()}
    with pytest.raises(SettingsError) as caught:
        load(given, None)
    return str(caught.value)


def test_the_minimum_is_enough() -> None:
    """The defaults are those of contract.md §3."""
    settings = load(MINIMUM, None).settings

    assert settings.kafka.events_topic_names == ("dam.asset-changes",)
    assert settings.window.max_bytes == 4 * 1024**2
    assert settings.limits().outcome_source == "/asset-sync/asset-sync"


def test_the_core_has_the_same_defaults() -> None:
    """Tests of the core use its own defaults, and must run with what users get."""
    assert load(MINIMUM, None).settings.limits() == Limits(
        decode=DecodeLimits(record_bytes_max=1024**2), structure=StructureOptions()
    )


def test_an_unknown_variable_names_the_nearest() -> None:
    """A typo is an error, or a warning if the user prefers that."""
    assert "Did you mean ASSET_SYNC_WINDOW__MAX_SECONDS?" in problem(WINDOW__MAX_SECOND="1")
    given = MINIMUM | {"ASSET_SYNC_X": "1", "ASSET_SYNC_UNKNOWN_VARIABLES": "warn"}
    assert "ASSET_SYNC_X" in load(given, None).warnings[0]


def test_hosts_of_media_files() -> None:
    """Names are compared as DNS does, and media are off without any."""
    given = {
        "ASSET_SYNC_MEDIA__HOSTS": " CDN.Example., *.dam.example,cdn.example,,[2001:DB8::1]",
        "ASSET_SYNC_MEDIA__PRIVATE_HOSTS": "dam,10.1.2.3",
    }
    settings = load(MINIMUM | given, None).settings

    assert settings.limits().media.hosts == {"cdn.example", "*.dam.example", "2001:db8::1"}
    assert settings.limits().media.private_hosts == {"dam", "10.1.2.3"}
    assert settings.media.are_on
    assert load(MINIMUM | dict([given.popitem()]), None).settings.media.are_on
    assert not load(MINIMUM, None).settings.media.are_on


def test_the_largest_file_must_find_room() -> None:
    """Otherwise its download would wait for ever."""
    assert problem(MEDIA__MAX_BYTES="3GiB") == (
        "ASSET_SYNC_MEDIA: DISK_BYTES (2147483648) must be at least MAX_BYTES (3221225472): "
        "otherwise the largest file would never find room."
    )
    both = {"ASSET_SYNC_MEDIA__MAX_BYTES": "3GiB", "ASSET_SYNC_MEDIA__DISK_BYTES": "3GiB"}
    assert load(MINIMUM | both, None).settings.limits().media.disk_bytes_max == 3 * 1024**3


def test_service_links_are_ignored() -> None:
    """Kubernetes sets them for a Service named asset-sync-…."""
    link = {"ASSET_SYNC_WEB_PORT_80_TCP": "tcp://10.0.0.1:80", "ASSET_SYNC_WEB_SERVICE_HOST": "x"}

    assert load(MINIMUM | link, None).warnings == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PIM__BASE_URL", "http://pim.example"),
        ("PIM__BASE_URL", "pim.example"),
        ("PIM__BASE_URL", "https://pim.example:99999"),
        ("PIM__BASE_URL", "https://[pim.example"),
        ("PIM__BASE_URL", "https://pim .example"),
        ("PIM__BASE_URL", "https://pim.example?"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka:abc"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka:99999"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka:9092,"),
        ("KAFKA__BOOTSTRAP_SERVERS", "http://kafka:9092"),
        ("KAFKA__BOOTSTRAP_SERVERS", "[::1"),
        ("KAFKA__BOOTSTRAP_SERVERS", "[:::]:9092"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka..example:9092"),
        ("KAFKA__BOOTSTRAP_SERVERS", "k" * 64 + ":9092"),
        ("HTTP__HOST", "a..b"),
        ("INGRESS__HOST", "h" * 64),
        ("CONSOLE__HOST", "."),
        ("KAFKA__EVENTS_TOPICS", "dam.a,bad topic!"),
        ("KAFKA__EVENTS_TOPICS", ","),
        ("KAFKA__OUTCOMES_TOPIC", ".."),
        ("KAFKA__DEAD_LETTERS_TOPIC", "a,b"),
        ("KAFKA__GROUP_ID", "g" * 256),
        ("KAFKA__GROUP_ID", "\u00e9" * 128),
        ("KAFKA__GROUP_ID", "two\nlines"),
        ("KAFKA__GROUP_ID", "no\udce9utf8"),
        ("KAFKA__CLIENT_ID", "c" * 256),
        ("KAFKA__SESSION_TIMEOUT_SECONDS", "1.9"),
        ("KAFKA__GROUP_INSTANCE_ID", "i" * 256),
        ("OUTCOMES__SOURCE", "no uri"),
        ("OUTCOMES__SOURCE", "/" + "x" * 1000),
        ("TRACES__ENDPOINT", "collector:4318"),
        ("PIM__APP_TOKEN", "t0p-secret\nof two lines"),
        ("PIM__APP_TOKEN", "t0p-secret-\u00e9"),
        ("PIM__PROXY_URL", "proxy:3128"),
        ("PIM__PROXY_URL", "socks5://proxy:1080"),
        ("PIM__PROXY_URL", "http://user:t0p-secret@proxy:99999"),
        ("PIM__PROXY_URL", "http://user:t0p-secret@proxy/path"),
        ("WINDOW__MAX_ASSETS", "101"),
        ("MEDIA__HOSTS", "https://cdn.example"),
        ("MEDIA__HOSTS", "https://user:t0p-secret@cdn.example"),
        ("MEDIA__HOSTS", "https://user:t0p-secret,more@cdn.example"),
        ("MEDIA__PRIVATE_HOSTS", "cdn.example/file?signature=t0p-secret"),
        ("MEDIA__HOSTS", "cdn.example/path"),
        ("MEDIA__HOSTS", "cdn.example:443"),
        ("MEDIA__HOSTS", "*"),
        ("MEDIA__HOSTS", "cdn.*.example"),
        ("MEDIA__HOSTS", "cdn..example"),
        ("MEDIA__HOSTS", "b\u00fccher.example"),
        ("MEDIA__PRIVATE_HOSTS", "*.internal"),
        ("MEDIA__PRIVATE_HOSTS", "10.0.0.0/8"),
        ("MEDIA__DISK_BYTES", "199MiB"),
        ("MEDIA__MAX_BYTES", "0"),
        ("MEDIA__TIMEOUT_SECONDS", "0"),
        ("WINDOW__MAX_BYTES", "1 parsec"),
        ("KAFKA__SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA__SASL_TOKEN_URL", "https://login.example/token"),
        ("KAFKA__SASL_TOKEN_URL", "login.example/token"),
        ("KAFKA__SASL_TOKEN_URL", "http://login.example/token"),
        ("KAFKA__SASL_TOKEN_URL", "https://user:t0p-secret@login.example/token"),
        ("KAFKA__OUTCOMES_TOPIC", "dam.asset-changes"),
        ("PIM__USERNAME", "both"),
    ],
)
def test_a_wrong_value_is_one_plain_line(name: str, value: str) -> None:
    """The line names the variable and never shows a secret."""
    said = problem(**{name: value})

    assert len(said.splitlines()) == 1
    assert name.split("__", maxsplit=1)[0] in said
    assert "t0p-secret" not in said


def test_a_login_with_tokens_is_complete() -> None:
    """The token URL belongs to OAUTHBEARER, and tokens in plain text are worth a warning."""
    login = {
        "KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA__SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA__SASL_USERNAME": "client",
        "KAFKA__SASL_PASSWORD": "t0p-secret",
    }
    both = "SASL_MECHANISM=OAUTHBEARER and SASL_TOKEN_URL need each other"
    assert both in problem(**login)
    login["KAFKA__SASL_TOKEN_URL"] = "http://localhost:8080/token"
    assert both in problem(**login | {"KAFKA__SASL_MECHANISM": "PLAIN"})
    given = {f"ASSET_SYNC_{name}": value for name, value in login.items()}
    loaded = load(MINIMUM | given, None)
    assert loaded.settings.kafka.sasl_token_url == "http://localhost:8080/token"
    for wrong in ("a", "a=", "a=b,", "a=b,a=c", "1=b", "a=b c", "auth=b"):
        assert "SASL_EXTENSIONS" in problem(**login | {"KAFKA__SASL_EXTENSIONS": wrong}), wrong
    for name in ("KAFKA__SASL_EXTENSIONS", "KAFKA__SASL_SCOPE"):
        assert "with OAUTHBEARER alone" in problem(**{name: "a=b"})
    assert "the token is readable on the network" in " ".join(loaded.warnings)


def test_a_group_id_that_is_too_long_says_how_long_it_may_be() -> None:
    """The source of the outcomes contains the group id."""
    assert "KAFKA__GROUP_ID: must have at most 255 characters (has 256)" in problem(
        KAFKA__GROUP_ID="g" * 256
    )


@pytest.mark.parametrize(
    ("group", "source"),
    [
        ("g" * 255, "/asset-sync/" + "g" * 255),
        ("team.dam_2-eu:blue", "/asset-sync/team.dam_2-eu:blue"),
        ("two words", "/asset-sync/two%20words"),
        ("\u00e9", "/asset-sync/%C3%A9"),
        ("a?b#c%d", "/asset-sync/a%3Fb%23c%25d"),
    ],
)
def test_the_source_of_outcomes_is_a_uri_whatever_the_group(group: str, source: str) -> None:
    """CloudEvents needs a URI, while Kafka takes any text for a group."""
    loaded = load(MINIMUM | {"ASSET_SYNC_KAFKA__GROUP_ID": group}, None)
    assert loaded.settings.limits().outcome_source == source


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ("https://pim.example/api/rest/v1", "https://pim.example"),
        ("https://pim.example/api/rest/v1/", "https://pim.example"),
        ("https://pim.example/API/oauth/v1/token", "https://pim.example"),
        ("https://pim.example/%61pi/rest", "https://pim.example"),
        ("https://pim.example:8443/pim/api/rest/v1?page=1", "https://pim.example:8443/pim"),
        ("https://pim.example/#/asset-family", "https://pim.example"),
        ("https://user:t0p-secret@pim.example/api", "https://pim.example"),
        ("https://@pim.example", "https://pim.example"),
    ],
)
def test_a_base_url_with_more_than_the_pim_says_what_to_write(given: str, instead: str) -> None:
    """The service adds the API's path by itself."""
    said = problem(PIM__BASE_URL=given)
    assert said.endswith(f"write {instead}."), said
    assert "t0p-secret" not in said
    right = load(MINIMUM | {"ASSET_SYNC_PIM__BASE_URL": instead}, None)
    assert right.settings.pim.base_url == instead


@pytest.mark.parametrize(
    "servers", ["kafka", "kafka:9092, b-2.example:9093", "[::1]:9092", "10.0.0.1"]
)
def test_servers_as_kafka_takes_them(servers: str) -> None:
    """Names and addresses of both kinds are accepted, with and without a port."""
    settings = load(MINIMUM | {"ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS": servers}, None).settings

    assert settings.kafka.bootstrap_servers == servers


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """A file is read again at each login; a variable and a file together are an error."""
    file = tmp_path / "token"
    file.write_text("first-secret\n")
    given = {
        "ASSET_SYNC_PIM__BASE_URL": "https://pim.example",
        "ASSET_SYNC_PIM__APP_TOKEN_FILE": str(file),
    }
    loaded = load(given, None)

    assert loaded.credentials().app_token == "first-secret"
    file.write_text("two\n")
    assert loaded.credentials().app_token == "two"
    file.write_text("three\nlines\n")
    with pytest.raises(SettingsError, match="visible ASCII"):
        loaded.credentials()
    assert "both set" in problem(PIM__APP_TOKEN_FILE=str(file))
    assert "first-secret" not in repr(loaded.settings)


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    """Its other lines are ignored, and the environment takes precedence."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("OTHER=1\nASSET_SYNC_DELETES=skip\nASSET_SYNC_PIM__APP_TOKEN=weak\n")
    loaded = load(MINIMUM, dotenv)

    assert loaded.settings.deletes == "skip"
    assert loaded.credentials().app_token == "t0p-secret"


def test_a_dotenv_file_with_a_byte_order_mark_loses_no_setting(tmp_path: Path) -> None:
    """The library skips it; else the first setting would be ignored as somebody else's line."""
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(b"\xef\xbb\xbfASSET_SYNC_DELETES=skip\r\n")

    assert load(MINIMUM, dotenv).settings.deletes == "skip"


def test_a_line_of_a_dotenv_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Left out, it would be the default: here, deletes would be sent."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("=of another program\nOTHER='open\n")
    load(MINIMUM, dotenv)
    for line in ('ASSET_SYNC_DELETES="skip', "ASSET_SYNC_PIM__APP_TOKEN='t0p-secret"):
        dotenv.write_text(f"# settings\r\n{line}\r\nASSET_SYNC_LOG__LEVEL=debug\r\n")
        with pytest.raises(SettingsError) as caught:
            load(MINIMUM, dotenv)
        assert f"{dotenv}: line 2 cannot be read: write NAME=VALUE" in str(caught.value)
        assert "t0p-secret" not in str(caught.value)


def test_a_dotenv_file_in_another_encoding_is_said(tmp_path: Path) -> None:
    """In plain words, without the content."""
    dotenv = tmp_path / ".env"
    dotenv.write_bytes("ASSET_SYNC_DELETES=skip".encode("utf-16"))

    with pytest.raises(SettingsError, match=r"\.env is not UTF-8: save it as UTF-8\.$"):
        load(MINIMUM, dotenv)


def test_a_directory_of_secrets(tmp_path: Path) -> None:
    """Kubernetes mounts a file for each secret; a missing directory is an error."""
    (tmp_path / "pim__app_token").write_text("mounted\n")
    (tmp_path / "kafka__sasl_password").write_text("m0unted-too")
    given = {
        "ASSET_SYNC_SECRETS_DIR": str(tmp_path),
        "ASSET_SYNC_PIM__BASE_URL": "https://pim.example",
        "ASSET_SYNC_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "ASSET_SYNC_KAFKA__SASL_MECHANISM": "PLAIN",
        "ASSET_SYNC_KAFKA__SASL_USERNAME": "us",
    }
    loaded = load(given, None)

    assert loaded.credentials().app_token == "mounted"
    password = loaded.settings.kafka.sasl_password
    assert password is not None
    assert password.get_secret_value() == "m0unted-too"
    assert str(tmp_path / "pim__app_token") in loaded.sources
    (tmp_path / "pim__app_token").write_text("rotated")
    assert loaded.credentials().app_token == "rotated"
    assert "is not a directory" in problem(SECRETS_DIR=str(tmp_path / "gone"))


def test_commands_that_need_no_pim_look_at_nothing_of_it(tmp_path: Path) -> None:
    """They find Kafka where the service does, also through `.env` and mounted secrets."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        "ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS=kafka.example:9092\n"
        "ASSET_SYNC_PIM__BASE_URL=nonsense\n"
    )
    (tmp_path / "pim__client_secret").write_text("s")
    given = {
        "ASSET_SYNC_SECRETS_DIR": str(tmp_path),
        "ASSET_SYNC_PIM__PASSWORD_FILE": "/nowhere",
    }
    settings = load_without_pim(given, dotenv)

    assert settings.kafka.bootstrap_servers == "kafka.example:9092"


@pytest.mark.parametrize(
    ("unwise", "said"),
    [
        ({"DRAIN__MAX_SECONDS": "30"}, "a drain may cancel calls"),
        ({"PIM__MAX_CONCURRENCY": "8"}, "expect 429s"),
        ({"PIM__MAX_CALLS_PER_SECOND": "200"}, "expect 429s"),
        ({"PIPELINE__MAX_PENDING_CHANGES": "50"}, "no batch gets full"),
        ({"PIPELINE__MAX_PENDING_BYTES": "1KiB"}, "pauses the intake"),
        ({"TRANSLATE__TOPIC": "other"}, "nobody reads what translate writes"),
    ],
)
def test_what_is_allowed_and_unwise_is_a_warning(unwise: dict[str, str], said: str) -> None:
    """The service starts with one warning."""
    given = MINIMUM | {f"ASSET_SYNC_{name}": value for name, value in unwise.items()}
    (warning,) = load(given, None).warnings
    assert said in warning


def test_translate_writes_to_the_first_events_topic_unless_told_otherwise() -> None:
    """So that `run` reads it."""
    first = load({"ASSET_SYNC_KAFKA__EVENTS_TOPICS": "b,a"}, None, needs_pim=False).settings
    named = load(MINIMUM | {"ASSET_SYNC_TRANSLATE__TOPIC": "c"}, None).settings

    assert first.translate_topic == "b"
    assert named.translate_topic == "c"
    assert set(named.own_topics()) == {"c", "pim.asset-outcomes", "pim.asset-dead-letters"}
    assert "TRANSLATE__TOPIC must be neither" in problem(TRANSLATE__TOPIC="pim.asset-outcomes")


@pytest.mark.parametrize(
    ("given", "names"), [(None, None), ("", None), ("a", ("a",)), ("b, a,b", ("b", "a"))]
)
def test_sources_can_be_selected(given: str | None, names: tuple[str, ...] | None) -> None:
    """All of the file are translated unless some are named."""
    more = {} if given is None else {"ASSET_SYNC_TRANSLATE__SOURCES": given}

    assert load(MINIMUM | more, None).settings.translate.source_names == names


@pytest.mark.parametrize(
    ("given", "body_bytes_max"),
    [
        ({}, 1024**2 - 32 * 1024),
        ({"KAFKA__MAX_RECORD_BYTES": "4MiB"}, 4 * 1024**2 - 32 * 1024),
        ({"KAFKA__MAX_RECORD_BYTES": "40KiB"}, 20 * 1024),
        ({"INGRESS__MAX_BODY_BYTES": "64KiB"}, 64 * 1024),
    ],
)
def test_a_webhook_that_is_accepted_fits_into_a_record(
    given: dict[str, str], body_bytes_max: int
) -> None:
    more = {f"ASSET_SYNC_{name}": value for name, value in given.items()}
    assert load(MINIMUM | more, None).settings.ingress_body_bytes_max == body_bytes_max


def test_ingress_explains_what_does_not_fit() -> None:
    too_large = problem(INGRESS__MAX_BODY_BYTES="1MiB")
    assert too_large.startswith(
        "ASSET_SYNC_INGRESS__MAX_BODY_BYTES (1048576) must be at most 1015808"
    )
    assert "TLS_CERT_FILE and TLS_KEY_FILE" in problem(INGRESS__TLS_KEY_FILE="key.pem")
    assert "ASSET_SYNC_INGRESS__MAX_IN_FLIGHT" in problem(INGRESS__MAX_IN_FLIGHT="0")


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ("", ()),
        ("asset-sync-headless:8080", (("asset-sync-headless", 8080),)),
        ("10.0.0.1:80, [::1]:81", (("10.0.0.1", 80), ("::1", 81))),
        ("replica", (("replica", 8080),)),
    ],
)
def test_the_replicas_of_the_console_are_places(
    given: str, places: tuple[tuple[str, int], ...]
) -> None:
    settings = load(MINIMUM | {"ASSET_SYNC_CONSOLE__REPLICAS": given}, None).settings
    assert settings.console.replica_places == places


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CONSOLE__REPLICAS", "http://replica:8080", "HOST:PORT"),
        ("CONSOLE__REPLICAS", "replica:99999", "HOST:PORT"),
        ("CONSOLE__REPLICAS", "[:::]:8080", "HOST:PORT"),
        ("CONSOLE__REPLICAS", "replica..example:8080", "HOST:PORT"),
        ("CONSOLE__MAX_BYTES", "9" * 5000, "such as 128MiB"),
        ("CONSOLE__USER_HEADER", "X User", "the name of an HTTP header"),
        ("CONSOLE__DAM_LINK", "ftp://dam/{code}", "http or https URL"),
        ("CONSOLE__PIM_LINK", "https://pim/{id}", "unknown placeholder {id}"),
        ("CONSOLE__MAX_BYTES", "1MiB", "greater than or equal"),
        ("CONSOLE__DAYS", "0", "greater than or equal"),
    ],
)
def test_a_wrong_setting_of_the_console_is_said(name: str, value: str, words: str) -> None:
    found = problem(**{name: value})
    assert f"ASSET_SYNC_{name}" in found
    assert words in found
