"""Checks of the sources file that need more than one of its parts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from service.mapping.faults import DocumentPath, Fault, did_you_mean
from service.mapping.file.model import TOMBSTONE, Fetch, Instead, Rule, Source, SourcesFile, Value

_BEFORE_READING = ("$event", "$item", "$key", "$record")
"""Where the paths begin that need no answer of the DAM."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the file must not collide with.

    Attributes:
        own_topics: The topics that asset-sync itself writes, each with the setting that names it.
        reserved_secrets: Names, in lower case, that belong to settings of asset-sync.
    """

    own_topics: Mapping[str, str] = field(default_factory=dict)
    reserved_secrets: frozenset[str] = frozenset()


NOTHING_AROUND = Surroundings()


def check(file: SourcesFile, around: Surroundings) -> Iterator[Fault]:
    """Yield everything that is wrong with parts that do not fit one another."""
    yield from _topics(file, around)
    yield from _webhook_paths(file)
    yield from _reserved_secrets(file, around)
    for name, source in file.sources.items():
        for fault in _source(source, file):
            yield Fault(("sources", name, *fault.path), fault.message, fault.is_about_key)


def _source(source: Source, file: SourcesFile) -> Iterator[Fault]:
    """Check one source; the paths of the faults start from it."""
    yield from _webhook(source)
    yield from _fetches(source, file)
    yield from _loops(source)
    yield from _repeated_families(source)
    yield from _rules(source)


def _topics(file: SourcesFile, around: Surroundings) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    for name, source in file.sources.items():
        for index, topic in enumerate(source.topics):
            path: DocumentPath = ("sources", name, "topics", index)
            if topic in around.own_topics:
                yield Fault(
                    path,
                    f"The topic {topic} is written by asset-sync ({around.own_topics[topic]}): "
                    "name a topic of the DAM.",
                )
            elif topic in owners:
                yield Fault(
                    path, f"The topic {topic} is listed already, for source {owners[topic]}."
                )
            owners.setdefault(topic, name)


def _webhook_paths(file: SourcesFile) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    for name, source in file.sources.items():
        if source.webhook is not None:
            owner = owners.setdefault(source.webhook.path, name)
            if owner != name:
                path: DocumentPath = ("sources", name, "webhook", "path")
                yield Fault(path, f"This path belongs to source {owner} already.")


def _reserved_secrets(file: SourcesFile, around: Surroundings) -> Iterator[Fault]:
    used: list[tuple[DocumentPath, tuple[str, ...]]] = [
        (("hosts", name, "auth"), host.auth.secrets)
        for name, host in file.hosts.items()
        if host.auth is not None
    ]
    used += [
        (("sources", name, "webhook", "verify"), source.webhook.verify.secrets)
        for name, source in file.sources.items()
        if source.webhook is not None
    ]
    for path, names in used:
        for secret in names:
            if secret.lower() in around.reserved_secrets:
                yield Fault(
                    path, f"The name {secret} is that of a setting: give the secret another name."
                )


def _webhook(source: Source) -> Iterator[Fault]:
    hook = source.webhook
    if hook is None:
        return
    if hook.topic is not None and hook.topic not in source.topics:
        yield Fault(
            ("webhook", "topic"), f"{hook.topic} is not among `topics`, so nobody would read it."
        )
    if hook.key == "identity" and source.identity is None:
        yield Fault(("webhook", "key"), "`key: identity` needs `identity` at the source.")


def _fetches(source: Source, file: SourcesFile) -> Iterator[Fault]:
    for path, fetch in _all_fetches(source):
        if fetch.host not in file.hosts:
            hint = did_you_mean(fetch.host, file.hosts)
            yield Fault((*path, "host"), f"There is no host `{fetch.host}`. {hint}")
        if source.identity is None:
            yield Fault(path, "`fetch` needs `identity` at the source.", is_about_key=True)
    for index, rule in enumerate(source.rules):
        yield from _deletes_what_is_not_found(source, rule, ("rules", index))
    if source.tombstones == "delete":
        yield from _deletes_what_is_not_found(source, TOMBSTONE, ())


def _all_fetches(source: Source) -> Iterator[tuple[DocumentPath, Fetch]]:
    if source.fetch is not None:
        yield ("fetch",), source.fetch
    for index, rule in enumerate(source.rules):
        if rule.fetch is not None:
            yield ("rules", index, "fetch"), rule.fetch


def _deletes_what_is_not_found(source: Source, rule: Rule, at: DocumentPath) -> Iterator[Fault]:
    """Check that an asset which the DAM no longer has can be named without the DAM's answer."""
    fetch = rule.fetch or source.fetch
    if fetch is None or fetch.not_found != "delete" or _become(source, rule) != "upsert":
        return
    families = rule.families or source.families
    for name in ("code",) if families else ("code", "family"):
        own, inherited = getattr(rule, name), getattr(source, name)
        value: Value | None = own or inherited
        if value is not None and not _needs_no_answer(value):
            yield Fault(
                (*at, name) if own else (name,),
                f"With `not_found: delete`, `{name}` must be constant or begin at $event, $item "
                "or $key: there is no answer to take it from.",
            )


def _needs_no_answer(value: Value) -> bool:
    if value.has_const:
        return True
    paths = [value.path] if value.path else value.first_of or _placeholders(value.template or "")
    return all(path.startswith(_BEFORE_READING) for path in paths)


def _placeholders(template: str) -> list[str]:
    plain = template.replace("{{", "").replace("}}", "")
    return [piece.partition("}")[0].strip() for piece in plain.split("{")[1:]]


def _loops(source: Source) -> Iterator[Fault]:
    for index, rule in enumerate(source.rules):
        if source.for_each is not None and rule.for_each is not None:
            yield Fault(
                ("rules", index, "for_each"),
                "`for_each` is given at the source already: it goes there or here, not both.",
                is_about_key=True,
            )


def _repeated_families(source: Source) -> Iterator[Fault]:
    """Find families that are listed twice: an asset would be deleted from them twice."""
    lists: list[tuple[DocumentPath, list[str] | None]] = [(("families",), source.families)]
    lists += [(("rules", n, "families"), rule.families) for n, rule in enumerate(source.rules)]
    for path, families in lists:
        for index, family in enumerate(families or ()):
            if family in (families or ())[:index]:
                yield Fault((*path, index), f"The family {family} is listed already.")


def _rules(source: Source) -> Iterator[Fault]:
    if not source.rules and source.tombstones == "skip":
        yield Fault((), "This source has no `rules`, so it would skip everything.")
    for index, rule in enumerate(source.rules):
        yield from _needs(source, rule, ("rules", index))
        if rule.because is not None and rule.do not in {"skip", "reject"}:
            yield Fault(("rules", index, "because"), "`because` goes with `do: skip` or `reject`.")
    if source.tombstones == "delete":
        yield from _needs(source, TOMBSTONE, ())


def _needs(source: Source, rule: Rule, at: DocumentPath) -> Iterator[Fault]:
    """Check that the rule can name the asset that it writes or deletes."""
    action = _become(source, rule)
    if action in {"upsert", "delete"}:
        yield from _names_an_asset(source, rule, action, at)


def _become(source: Source, rule: Rule) -> str:
    """Return what a rule's `do` has become: values that are written instead are an upsert."""
    become = {"delete": source.on_delete, "archive": source.on_archive}.get(rule.do, rule.do)
    return "upsert" if isinstance(become, Instead) else become


def _names_an_asset(source: Source, rule: Rule, action: str, at: DocumentPath) -> Iterator[Fault]:
    families = rule.families or source.families if action == "delete" else None
    if not (rule.code or source.code):
        yield Fault(at, f"A rule that ends in {action} needs `code`, here or at the source.")
    if not (rule.family or source.family or families):
        yield Fault(at, f"A rule that ends in {action} needs `family`, here or at the source.")
