"""What is wrong in a sources file is found at once, each fault with its place and its remedy."""

from pathlib import Path

import pytest

from service.mapping import profiles
from service.mapping.file.checks import Surroundings
from service.mapping.file.load import FAULTS_MAX, Loaded, load
from service.mapping.file.merge import DIGEST_CHARACTERS
from tests.support.mapping import SIMPLE

EXAMPLE = Path(__file__).parents[3] / "support" / "sources" / "example.yaml"
AROUND = Surroundings(
    own_topics={"pim.asset-outcomes": "ASSET_SYNC_KAFKA__OUTCOMES_TOPIC"},
    reserved_secrets=frozenset({"pim__password"}),
)


def parsed(content: str) -> Loaded:
    """Return a file without fault."""
    found = load(content.encode(), "sources.yaml", AROUND)
    assert isinstance(found, Loaded), "\n".join(map(str, found))
    return found


def faults(content: str) -> list[str]:
    """Return the faults as they are shown."""
    found = load(content.encode(), "sources.yaml", AROUND)
    assert not isinstance(found, Loaded)
    return [str(fault) for fault in found]


def with_lines(*lines: str) -> str:
    """Return the smallest file with these lines at its source; the first is line 9."""
    return SIMPLE + "".join(f"    {line}\n" for line in lines)


def test_the_example_of_the_contract_has_no_fault() -> None:
    example = parsed(EXAMPLE.read_text())

    assert len(example.model.sources) == 9
    assert len(example.digest) == DIGEST_CHARACTERS


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ("fmaily: a", "9:5", "Unknown key `fmaily`. Did you mean `family`?"),
        ("only: {a: {prefx: b}}", "9:16", "Unknown key `prefx`. Did you mean `prefix`?"),
        ("only:", "9:10", "`only`: has no value: give one, or remove the key."),
        ("only: {}", "9:11", "`only`: should not be empty."),
        ("only: {a: {ignore_case: true}}", "9:15", "`a`: compares with nothing"),
        ("only: {a: [[1]]}", "9:16", "`a`: should be a text, a number, true, false or null"),
        ("values: {label: 3}", "9:21", "`label`: should be a text or a map"),
        ("values: {label: [a, {path: 1}]}", "9:32", "`path`: should be a text; put numbers"),
        ("values: {label: {path: a, cut: 1.5}}", "9:36", "`cut`: should be a whole number."),
        ("values: {label: {path: a, cut: 0}}", "9:36", "`cut`: should be greater than"),
        ("values: {label: {path: a, part: nme}}", "9:37", "`part`: should be 'name', 'stem'"),
        ("values: {label: {first_of: [a], const: b}}", "9:21", "needs exactly one of path, first"),
        ("values: {label: {locale: en_US}}", "9:21", "needs exactly one of path, first_of, const"),
        ("values: {label: {each: a}}", "9:21", "`each` needs `path`"),
        ("values: {label: {path: a, give: b}}", "9:21", "`give` needs `extract`"),
        ("values: {label: {path: a, otherwise: keep}}", "9:21", "`otherwise` needs `table`"),
        ("values: {label: {path: a, zone: Europe/Paris}}", "9:21", "`zone` needs `date`"),
        ("values: {media: {file: {url: a}, as: code}}", "9:21", "`file` cannot be changed by `as`"),
        ("values: {label: {const: {a: 1}}}", "9:29", "`const`: should be a text, a number, true"),
        ("values: {label: {path: a, table: {b: 1}}}", "9:42", "`b`: should be a text or a list of"),
        ("values: {}", "9:13", "`values`: should not be empty."),
        ("no_family: drop", "9:16", "`no_family`: should be 'skip' or 'reject'."),
        ("families: [a/b]", "9:16", "`families`: should be 1 to 255 characters without '/'"),
        ("on_delete: {st: {a: b}}", "9:17", "Unknown key `st`. Did you mean `set`?"),
        ("on_delete: drop", "9:16", "`on_delete`: should be 'delete' or 'skip'."),
        ("profile: bindr", "9:14", "There is no profile `bindr`. Did you mean `bynder`?"),
        ("profile: s4", "9:14", "Known names: aem, aprimo, bynder"),
        ("tests: [{name: a, record: {}, expect: []}]", "9:43", "`expect`: should not be empty."),
        ("tests: [{name: a, record: {}, expect: [{upsrt: a/b}]}]", "9:45", "mean `upsert`?"),
        ("tests: [{name: a, record: {}, expect: [{}]}]", "9:44", "needs exactly one of upsert"),
        ("tests: [{name: a, record: {}, expect: [{skipped: late}]}]", "9:54", "'not_selected'"),
        ("tests: [{name: a, record: {}, expect: [{upsert: a, message: b}]}]", "9:44",
         "`message` goes with skipped or rejected"),
        ("tests: [{name: a, record: {}, expect: [{upsert: a, values: {b: [{dta: c}]}}]}]", "9:70",
         "Unknown key `dta`. Did you mean `data`?"),
        ("tests: [{name: a, record: {value: 1, value_file: b}, expect: [{delete: a}]}]", "9:31",
         "has both `value` and `value_file`"),
        (r'tests: [{name: a, record: {value_file: "b\0"}, expect: [{delete: a}]}]', "9:44",
         "`value_file`: has a NUL character, which no file name has."),
        ("tests: [{name: a, record: {}, fetched: 3, expect: [{delete: a}]}]", "9:44",
         "should be the object that the DAM answers, or not_found"),
        ("webhook: {path: dam, verify: {none: I trust the network}}", "9:21", "a path such as"),
        ("webhook: {path: /dam, verify: {none: yes}}", "9:42", "should be 'I trust the network'"),
        ("webhook: {path: /dam, verify: {}}", "9:35", "needs exactly one of cloudinary, sns"),
        ("webhook: {path: /d, verify: {token: {header: a b, secret: c}}}", "9:50", "HTTP header"),
        ("webhook: {path: /d, verify: {token: {header: a, secret: c/d}}}", "9:61",
         "the name of a secret"),
        ("webhook: {path: /d, verify: {token: {header: X-A, secret: c}}, headers: [x-a]}", "9:14",
         "the header x-a holds credentials and is never kept"),
        ("webhook: {path: /d, verify: {sns: {topics: [a]}}, headers: [Cookie]}", "9:14",
         "the header Cookie holds credentials and is never kept"),
        # What needs more than one part of the file.
        ("webhook: {path: /d, verify: {sns: {topics: [a]}}, topic: b}", "9:62",
         "b is not among `topics`"),
        ("families: [a, b, a]", "9:22", "The family a is listed already."),
        ("webhook: {path: /d, verify: {sns: {topics: [a]}}, key: identity}", "9:60",
         "`key: identity` needs `identity` at the source."),
        ("webhook: {path: /d, verify: {token: {header: a, secret: PIM__PASSWORD}}}", "9:33",
         "The name PIM__PASSWORD is that of a setting"),
        ("fetch: {host: dam, url: /a}", "9:5", "`fetch` needs `identity` at the source."),
        ("fetch: {host: bam, url: /a}", "9:19", "There is no host `bam`. Did you mean `dam`?"),
        ("fetch: {host: dam, url: /a, not_found: delete}", "7:11",
         "`code` must be constant or begin at $event, $item or $key"),
    ],
)  # fmt: skip
def test_a_fault_has_its_place_and_its_remedy(line: str, place: str, message: str) -> None:
    found = [fault for fault in faults(with_lines(line)) if message in fault]

    assert [fault.split(": ")[0] for fault in found] == [f"sources.yaml:{place}"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a", "sources.yaml:1:1: The file: should be a map (`key: value`)."),
        ("version: 1", "sources.yaml:1:1: The file: the key `sources` is missing."),
        ("version: 2\nsources: {a: {}}", "sources.yaml:1:10: `version`: should be 1."),
        ("version: 1\nsources: {}", "sources.yaml:2:10: `sources`: should not be empty."),
        ("version: 1\nsources: {a: {}}", "2:14: `a`: the key `topics` is missing."),
        ("version: 1\nsources: {A b: {topics: [t]}}", "2:11: `A b`: should be a letter, then at"),
        ("version: 1\nsources: {a: {topics: [t/1]}}", "2:24: `topics`: should be the name of a"),
        ("version: 1\nsources: {a: {topics: [t]}}", "2:14: This source has no `rules`, so it"),
        (SIMPLE.replace("upsert}", "delete, because: x}"), "8:35: `because` goes with `do: skip`"),
        (SIMPLE.replace("    code: id\n", ""), "7:13: A rule that ends in upsert needs `code`"),
        (SIMPLE.replace("    family: {const: packshots}\n", ""), "that ends in upsert needs"),
        (SIMPLE.replace("dam.one", "pim.asset-outcomes"), "5:14: The topic pim.asset-outcomes is"),
        (SIMPLE.replace("dam.one", "a, a"), "5:17: The topic a is listed already, for source one."),
        (SIMPLE.replace("https", "http"), "2:14: `dam`: http://dam.example is plain http: use"),
        (SIMPLE.replace("dam.example", "u:p@dam.example"), "2:21: `base`: should be a URL such as"),
        (SIMPLE.replace('e"}', 'e", auth: {}}'), "`auth`: needs exactly one of bearer, basic,"),
        (SIMPLE.replace('e"}', r'e", ca_file: "a\0"}'), "`ca_file`: has a NUL character, which no"),
        (SIMPLE.replace('e"}', 'e", max_bytes: 1QB}'), "`max_bytes`: give bytes, or a number"),
        (SIMPLE.replace("{do:", "{for_each: a, do:") + "    for_each: b",
         "8:14: `for_each` is given at the source already"),
    ],
)  # fmt: skip
def test_a_fault_of_the_whole_file_has_its_place_and_its_remedy(
    content: str, expected: str
) -> None:
    assert [fault for fault in faults(content) if expected in fault] != []


def test_all_faults_are_found_at_once_in_the_order_of_the_file() -> None:
    """Also those of the text, of profiles and of the model, in one run."""
    found = faults(with_lines("profile: s4", "only: &x 1", "vlues: {}", "cod: a", "cod: b"))

    assert [fault.split(":")[1] for fault in found] == ["9", "10", "11", "12", "13"]


def test_faults_of_form_do_not_hide_those_of_paths_and_patterns() -> None:
    """Also in the same source, the same rule and the same value."""
    found = faults(
        "version: 1\ntables: {t: {a: 1}}\nsources:\n  one:\n"
        "    topics: [t]\n    fmaily: {const: a}\n    code: 'a['\n"
        "    rules:\n      - {do: upsrt}\n      - {do: skip, when: {'b(': c}}\n"
        "      - {whn: a, do: upsert, values: {x: {path: 'nosuch(a)', prt: top, table: t}}}\n"
        "  two: {topics: [u], code: {path: a, extract: '('}, rules: [{do: delete}]}\n"
    )

    lines = [int(fault.split(":")[1]) for fault in found]
    assert lines == [2, 6, 7, 9, 10, 11, 11, 11, 12, 12]


def test_faults_of_form_do_not_hide_those_between_other_parts() -> None:
    """A source without a fault is checked although another one has some."""
    other = "  two: {topics: [dam.one, pim.asset-outcomes], rules: [{do: skip}]}\n"

    assert [fault.split(":")[1] for fault in faults(with_lines("fmaily: a") + other)] == ["9", "10"]


def test_very_many_faults_are_counted() -> None:
    found = faults(with_lines("values:", *(f"  v{n}: 'a['" for n in range(FAULTS_MAX + 50))))

    assert len(found) == FAULTS_MAX + 1
    assert found[-1].startswith(f"sources.yaml:{10 + FAULTS_MAX}:")
    assert found[-1].endswith(": 50 more faults from here on.")


@pytest.mark.parametrize("line", ["only: *x", "profile: s4"])
def test_what_follows_from_a_reported_fault_is_not_reported(line: str) -> None:
    """An alias has no value here, but that is not what its author did wrong."""
    assert len(faults(with_lines(line))) == 1


def test_a_faulty_table_is_not_reported_as_unknown() -> None:
    used = with_lines("values: {x: {path: a, table: t}}")

    assert "There is no table `t`" in faults(used)[0]
    assert len(faults(f"{used}tables: {{t: {{a: 1}}}}")) == 1


def test_deletes_that_become_values_need_a_family() -> None:
    """`families` is for deletes alone, which these no longer are."""
    content = SIMPLE.replace("{const: packshots}", "a").replace("    family: a\n", "")
    content = content.replace("do: upsert", "do: delete") + "    families: [packshots]\n"

    assert parsed(content).model.sources["one"].families == ["packshots"]
    assert (
        "ends in upsert needs `family`" in faults(f"{content}    on_delete: {{set: {{a: b}}}}")[0]
    )


@pytest.mark.parametrize(
    ("code", "is_known_without_an_answer"),
    [
        ("$event.id", True),
        ("{path: $item.id, as: code}", True),
        ("{first_of: [$key.id, $event.id]}", True),
        ("{first_of: [$key.id, id]}", False),
        ("{const: a}", True),
        ("{template: '{$event.a}-{{x}}-{$key.b|url}'}", True),
        ("{template: '{$event.a}-{b}'}", False),
        ("$fetched.id", False),
    ],
)
def test_an_asset_that_the_dam_no_longer_has_is_named_by_its_event(
    code: str,
    is_known_without_an_answer: bool,  # noqa: FBT001 - the expectation
) -> None:
    """Whether the fetch is that of the source or of the rule."""
    fetch = "fetch: {host: dam, url: '/{id}', not_found: delete}"
    at_source = SIMPLE.replace("code: id", f"code: {code}") + f"    identity: id\n    {fetch}\n"
    at_rule = (
        SIMPLE.replace("code: id", f"identity: id\n    code: {code}").replace(
            "rules: [{do: upsert}]", f"rules: [{{do: upsert, {fetch}}}]"
        )
    )  # fmt: skip

    for content in (at_source, at_rule):
        found = load(content.encode(), "sources.yaml", AROUND)
        assert isinstance(found, Loaded) is is_known_without_an_answer


@pytest.mark.parametrize(
    ("lines", "is_read_back"),
    [
        ("rules: [{do: delete}]", False),
        ("on_delete: {set: {status: gone}}\n    rules: [{do: delete}]", True),
        ("on_delete: {set: {status: gone}}\n    tombstones: delete", True),
        ("tombstones: delete", False),
        ("rules: [{do: archive}]", False),
        ("on_archive: delete\n    rules: [{do: archive}]", False),
        ("on_archive: {set: {status: gone}}\n    rules: [{do: archive}]", True),
    ],
)
def test_what_an_action_has_become_decides_whether_its_asset_is_read(
    lines: str,
    is_read_back: bool,  # noqa: FBT001 - the expectation
) -> None:
    """Only what is read back must name an asset that the DAM no longer has."""
    fetch = "identity: id\n    fetch: {host: dam, url: '/{id}', not_found: delete}"
    content = SIMPLE.replace("rules: [{do: upsert}]", f"{fetch}\n    {lines}")

    found = load(content.encode(), "sources.yaml", AROUND)
    assert isinstance(found, Loaded) is not is_read_back
    if is_read_back:
        assert "there is no answer" in faults(content)[0]


def test_tombstones_that_delete_must_name_an_asset() -> None:
    """Unless deletes are skipped."""
    content = "version: 1\nsources: {a: {topics: [t], tombstones: delete}}\n"

    assert [fault.split("needs ")[1][:8] for fault in faults(content)] == ["`code`, ", "`family`"]
    assert parsed(content.replace("delete}", "delete, on_delete: skip}")).sources


def test_the_scheme_of_a_host_may_be_written_in_capitals() -> None:
    found = parsed(SIMPLE.replace("https://dam.example", "HTTPS://Dam.example/API/"))

    assert found.model.hosts["dam"].base == "https://Dam.example/API"


@pytest.mark.parametrize(
    ("auth", "secrets"),
    [
        ("{bearer: a}", ("a",)),
        ("{basic: {username: a, password: b}}", ("a", "b")),
        ("{header: {name: X-Key, secret: a}}", ("a",)),
        ("{oauth2: {token_url: 'https://x', client_id: a, client_secret: b}}", ("a", "b")),
    ],
)
def test_the_secrets_of_a_host_are_known(auth: str, secrets: tuple[str, ...]) -> None:
    host = parsed(SIMPLE.replace('e"}', f'e", auth: {auth}}}')).model.hosts["dam"]

    assert host.auth is not None
    assert host.auth.secrets == secrets


@pytest.mark.parametrize("url", ["https://", "ftp://a", "https://a:99999", "https://a b", "a"])
def test_a_base_is_a_url(url: str) -> None:
    assert "should be a URL such as" in faults(SIMPLE.replace("https://dam.example", url))[0]


def test_a_webhook_path_belongs_to_one_source() -> None:
    hook = "    webhook: {path: /d, verify: {none: I trust the network}}\n"
    other = SIMPLE.partition("sources:\n")[2].replace("one", "two")

    assert "10" not in faults(SIMPLE + hook + other + hook)[0]
    assert "This path belongs to source one already." in faults(SIMPLE + hook + other + hook)[0]


def test_what_is_short_has_its_long_form() -> None:
    """The compiler has one case for each."""
    source = parsed(
        with_lines(
            "only: {a: b}",
            "values: {label: title, colour: [x, {const: 1.50, locale: fr_FR}], size: {const: ~}}",
        )
    ).model.sources["one"]

    assert source.only is not None
    assert source.values is not None
    comparison = source.only[0]["a"]
    assert comparison.equals == ["b"]
    assert [value.path for value in source.values["label"]] == ["title"]
    assert source.values["colour"][1].const == "1.50"
    assert source.values["colour"][1].locale is not None
    assert source.values["colour"][1].locale.const == "fr_FR"
    assert source.values["size"][0].has_const
    assert not source.values["label"][0].has_const


@pytest.mark.parametrize("name", profiles.names())
def test_a_profile_never_names_what_is_the_users_own(name: str) -> None:
    """A profile and four lines make a source."""
    lines = ("topics: [t]", "identity: id", "code: id", "family: {const: packshots}")
    head = f"version: 1\nsources:\n  dam:\n    profile: {name}\n"
    source = parsed(head + "".join(f"    {line}\n" for line in lines)).model.sources["dam"]

    assert source.rules
    assert "values" not in source.model_fields_set
    assert len(source.model_fields_set - {"topics", "identity", "code", "family"}) > 2


def test_a_key_of_a_source_replaces_that_of_its_profile_as_a_whole() -> None:
    source = parsed(with_lines("profile: s3")).model.sources["one"]

    assert source.for_each == "Records"
    assert [rule.do for rule in source.rules] == ["upsert"]


def test_a_fault_in_what_a_profile_says_is_placed_where_the_profile_is_named() -> None:
    content = "version: 1\nsources:\n  dam:\n    profile: s3\n    topics: [t]\n    code: a\n"

    assert faults(content)[0] == (
        "sources.yaml:4:14: A rule that ends in delete needs `family`, here or at the source. "
        "(profile s3 line 11)"
    )


def test_messages_name_the_line_of_a_part() -> None:
    """Of the file itself, or of the profile."""
    merged = parsed(with_lines("profile: s3").replace("    rules: [{do: upsert}]\n", "")).merged

    assert merged.locate(("sources", "one", "code", "path")) == "sources.yaml line 7"
    assert merged.locate(("sources", "one", "rules", 1, "when")) == "profile s3 line 9"


def test_messages_leave_out_the_folder_and_faults_do_not() -> None:
    """Outcomes carry messages to readers elsewhere; a fault is for whoever can open the file."""
    sound = load(SIMPLE.encode(), "/etc/conf/sources.yaml")
    wrong = load(b"a", "/etc/conf/sources.yaml")

    assert isinstance(sound, Loaded)
    assert sound.merged.locate(("sources", "one")) == "sources.yaml line 5"
    assert not isinstance(wrong, Loaded)
    assert str(wrong[0]).startswith("/etc/conf/sources.yaml:1:1: ")


def test_the_digest_names_the_file_with_its_profiles() -> None:
    digests = {
        parsed(content).digest for content in (SIMPLE, SIMPLE + "# more", with_lines("profile: s3"))
    }

    assert len(digests) == 3
