"""Files of assets: fetched once, uploaded once, and the code in their place (contract.md §9)."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from service.core.inputs import (
    Answer,
    CallFault,
    CallReply,
    DownloadEnd,
    DownloadFault,
    DownloadRefused,
    FaultKind,
    ItemReply,
    NotModified,
)
from service.core.limits import MediaOptions, StructureOptions
from service.core.requests import GetAttributes, Request, UploadFile, UpsertAssets
from service.core.values import Attribute, Values
from tests.support.drive import Drive, Pim
from tests.support.file_source import FILE_BYTES, FileSource, downloaded, sha256_of

URL = "https://cdn.example/boot.jpg"
DOWN = CallReply(503)
MEDIA = MediaOptions(hosts=frozenset({"cdn.example", "other.example"}))


def drive(pim: Pim = lambda _request, _now: None, **given: Any) -> Drive:  # noqa: ANN401 - any field
    """A replica that may fetch from cdn.example."""
    limits = {"media": MEDIA, "window_seconds_max": 0.1} | given.pop("limits", {})
    return Drive(pim, limits=limits, **given)


def file(url: str = URL, **members: str) -> dict[str, str]:
    """A value that is a file."""
    return {"url": url, **members}


def sent_values(made: Drive) -> list[Values]:
    """The values of each asset that was written, in order."""
    return [
        asset.values
        for sent in made.writes
        if isinstance(sent.request, UpsertAssets)
        for asset in sent.request.assets
        if isinstance(asset.values, dict)
    ]


def codes(made: Drive, attribute: str = "media") -> list[object]:
    """What was written into an attribute, write by write."""
    return [values[attribute][0].data for values in sent_values(made) if attribute in values]


def outcome(made: Drive, id_: str) -> tuple[str, str | None]:
    found = made.outcomes[id_]
    return found["status"], found["reason"] or found["result"]


class TestOneFile:
    """From the source to the PIM."""

    def test_its_code_takes_its_place(self) -> None:
        made = drive()
        id_ = made.upsert("packshots", "a", media=file(), text="x")
        made.run()

        assert outcome(made, id_) == ("applied", "created")
        assert codes(made) == [f"code1:{sha256_of(URL)}"]
        assert codes(made, "text") == ["x"]
        assert made.source.urls == [URL]
        assert [(upload.name, upload.size) for upload in made.uploads] == [("boot.jpg", FILE_BYTES)]
        assert not made.source.on_disk, "it is dropped"

    def test_the_outcome_says_what_became_of_it(self) -> None:
        made = drive()
        signed = f"{URL}?signature=secret"
        without = made.upsert("packshots", "b", text="x")
        ids = [made.upsert("packshots", "a", media=file(signed))]
        made.run()
        ids.append(made.upsert("packshots", "a", media=file(sha256=sha256_of(signed))))
        made.run()
        ids.append(made.upsert("packshots", "a", media=file("https://evil.example/x.jpg")))
        made.run()

        known = {
            "attribute": "media",
            "url": URL,
            "sha256": sha256_of(signed),
            "bytes": FILE_BYTES,
            "code": made.outcomes[ids[0]]["media"][0]["code"],
            "result": "uploaded",
        }
        refused = {"url": "https://evil.example/x.jpg", "sha256": None, "bytes": None, "code": None}
        assert made.outcomes[without]["media"] is None
        assert [made.outcomes[id_]["media"] for id_ in ids] == [
            [known],
            [known | {"bytes": None, "result": "remembered"}],
            [known | refused | {"result": "refused"}],
        ]

    def test_the_outcome_names_files_that_nobody_looked_for(self) -> None:
        """Whatever ended the change: a value that does not fit, a delete, its family."""

        def pim(request: Request, _now: float) -> Answer | None:
            if isinstance(request, UpsertAssets) and request.family == "sick":
                return CallReply(500)
            return knows(media=PICTURE)(request, _now)

        limits = {"structure": StructureOptions(), "dead_letter_share_max": 1.0}
        limits |= {"retry_attempts_max": 3, "retry_seconds_max": 10.0}
        made = drive(pim, source=FileSource(seconds=5.0), limits=limits)
        flawed = made.upsert("packshots", "a", media=file(), text=[1, 2])
        ids = [made.upsert("packshots", "a", media=file(), text=file())]
        for n in range(4):
            made.upsert("packshots", f"b{n}", media=file(f"https://cdn.example/{n}.jpg"))
        made.run(1.0)
        ids.append(made.upsert("packshots", "c", media=file()))
        made.delete("packshots", "c")
        ids += [made.upsert("sick", f"d{n}", media=file()) for n in range(5)]
        for n in range(60):
            ids.append(made.upsert("sick", f"e{n}", media=file()))
            made.upsert("packshots", f"d{n}", text="x")
            made.run(1.0)
        made.run(60.0)

        ends = {outcome(made, id_) for id_ in ids}
        assert {("rejected", "invalid_values"), ("failed", "pim_error")} < ends
        assert ("superseded", None) in ends
        assert {one["url"] for id_ in ids for one in made.outcomes[id_]["media"]} == {URL}
        assert made.outcomes[flawed]["media"] is None, "it is no event that could be read"

    def test_an_outcome_shows_twenty_files_and_stays_small(self) -> None:
        made = drive()
        name = "é" * 4_000
        many = {f"{n}{name}": file(f"https://cdn.example/{'x' * 500}/{n}.jpg") for n in range(30)}
        event = {"action": "upsert", "asset_family": "packshots", "code": "a", "values": many}
        id_ = made.event(event)
        made.run()

        assert len(made.outcomes[id_]["media"]) == 20
        assert len(json.dumps(made.outcomes[id_], ensure_ascii=False).encode()) < 64 * 1024

    def test_it_stands_as_the_data_of_an_entry_too(self) -> None:
        made = drive()
        entries = [{"locale": locale, "channel": None, "data": file()} for locale in ("de", "en")]
        made.upsert("packshots", "a", media=entries)
        made.run()

        (values,) = sent_values(made)
        assert {value.data for value in values["media"]} == {f"code1:{sha256_of(URL)}"}
        assert [value.locale for value in values["media"]] == ["de", "en"]

    def test_others_of_its_family_go_on(self) -> None:
        """The asset alone waits for its file."""
        made = drive(source=FileSource(seconds=100.0))
        waiting = made.upsert("packshots", "a", media=file())
        other = made.upsert("packshots", "b", text="x")
        made.run()

        assert made.settled_at[other] < 5 < made.settled_at[waiting]

    def test_later_changes_of_the_asset_wait_behind_a_download(self) -> None:
        made = drive(source=FileSource(seconds=10.0))
        first = made.upsert("packshots", "a", media=file())
        made.run(5.0)
        second = made.upsert("packshots", "a", text="later")
        made.run()

        assert outcome(made, second) == ("applied", "updated")
        assert made.settled_at[first] < made.settled_at[second]
        assert len(made.writes) == 2

    def test_a_name_is_made_usual(self) -> None:
        made = drive()
        made.upsert("packshots", "a", media=file(name="Böse Schuhe (neu).JPG"))
        made.run()

        assert [upload.name for upload in made.uploads] == ["B_se_Schuhe_neu_.JPG"]


class TestOnce:
    """A file is fetched once, and uploaded once."""

    def test_two_assets_with_one_new_file_upload_it_once(self) -> None:
        made = drive()
        made.upsert("packshots", "a", media=file())
        made.upsert("manuals", "b", media=file())
        made.run()

        assert made.source.urls == [URL]
        assert len(made.uploads) == 1
        assert codes(made) == [f"code1:{sha256_of(URL)}"] * 2

    def test_one_content_under_two_urls_is_uploaded_once(self) -> None:
        """URLs are signed anew for each event."""
        source = FileSource(lambda _url, _now: downloaded("boot"))
        made = drive(source=source)
        for number in range(5):
            made.upsert("packshots", f"a{number}", media=file(f"{URL}?signature={number}"))
        made.run()

        assert len(source.urls) == 5
        assert len(made.uploads) == 1
        assert len(set(codes(made))) == 1
        assert not source.on_disk

    def test_one_content_with_two_extensions_is_two_files(self) -> None:
        source = FileSource(lambda _url, _now: downloaded("boot"))
        made = drive(source=source)
        made.upsert("packshots", "a", media=file(), other=file(name="boot.png"))
        made.run()

        assert sorted(upload.name for upload in made.uploads) == ["boot.jpg", "boot.png"]

    def test_a_known_digest_is_not_fetched_again(self) -> None:
        made = drive()
        made.upsert("packshots", "a", media=file())
        made.run()
        made.upsert(
            "packshots", "b", media=file("https://other.example/x.jpg", sha256=sha256_of(URL))
        )
        made.run()

        assert made.source.urls == [URL]
        assert codes(made) == [f"code1:{sha256_of(URL)}"] * 2
        assert len(made.noted("media.remembered")) == 1

    def test_a_file_that_has_not_changed_is_not_fetched_again(self) -> None:
        """Its source is asked with the ETag of the last answer."""
        made = drive()
        for code in "ab":
            made.upsert("packshots", code, media=file())
            made.run()

        first, second = made.source.started
        assert first.etag is None
        assert second.etag == downloaded(URL).etag
        assert len(made.uploads) == 1
        assert len(set(codes(made))) == 1

    def test_a_file_that_has_changed_is_uploaded(self) -> None:
        source = FileSource(lambda _url, now: downloaded("old" if now < 50 else "new"))
        made = drive(source=source)
        made.upsert("packshots", "a", media=file())
        made.run(100.0)
        made.upsert("packshots", "a", media=file())
        made.run()

        assert codes(made) == [f"code1:{sha256_of('old')}", f"code2:{sha256_of('new')}"]

    def test_a_file_that_changed_after_it_was_fetched_is_fetched_for_a_later_change(self) -> None:
        """It waits for the PIM, and the source has another file under its URL meanwhile."""
        source = FileSource(lambda _url, now: downloaded("old" if now < 100 else "new"))
        made = drive(lambda _request, now: DOWN if now < 200 else None, source=source)
        first = made.upsert("packshots", "a", media=file())
        made.run(150.0)
        assert source.urls == [URL]
        ids = [made.upsert("packshots", code, media=file()) for code in "bc"]
        made.run()

        assert len(made.uploads) == 2
        found = [made.outcomes[id_]["media"][0]["sha256"] for id_ in (first, *ids)]
        assert found == [sha256_of("old"), sha256_of("new"), sha256_of("new")]
        assert not source.on_disk

    def test_a_change_behind_one_that_shares_a_download_is_asked_for_again(self) -> None:
        """Both are in the work of one asset, but the download began between the two."""
        files = (downloaded(f"content {number}") for number in (1, 2))
        source = FileSource(lambda _url, _now: next(files), seconds=30.0)
        made = drive(source=source, call_seconds=4.0)
        made.upsert("packshots", "a", text="x")
        made.run(0.4)
        first = made.upsert("packshots", "a", media=file())
        made.run(0.4)
        made.upsert("packshots", "b", media=file())
        made.run(1.0)
        assert source.urls == [URL]
        second = made.upsert("packshots", "A", media=file())
        made.run()

        assert made.outcomes[second]["media"][0]["sha256"] == sha256_of("content 2")
        assert made.settled_at[first] < made.settled_at[second]
        assert len(source.urls) == 2

    def test_a_digest_says_that_no_other_file_is_meant(self) -> None:
        made = drive(lambda _request, now: DOWN if now < 200 else None)
        for code in "ab":
            made.upsert("packshots", code, media=file(sha256=sha256_of(URL)))
            made.run(150.0)
        made.run()

        assert made.source.urls == [URL]

    def test_only_the_newest_uploads_are_remembered(self) -> None:
        limits = {"media": MediaOptions(hosts=MEDIA.hosts, remembered_max=1)}
        made = drive(limits=limits)
        for url in (URL, "https://cdn.example/b.jpg", URL):
            made.upsert("packshots", "a", media=file(url))
            made.run()

        assert len(made.uploads) == 3

    def test_a_remembered_code_that_the_pim_refuses_is_forgotten_once(self) -> None:
        """The file is uploaded once more; if the PIM still refuses, something else is wrong."""
        forgotten: set[object] = set()

        def pim(request: Request, _now: float) -> Answer | None:
            if isinstance(request, UpsertAssets):
                named = {value.data for asset in request.assets for value in of(asset.values)}
                if named & forgotten:
                    items = (ItemReply("a", 422, "no such file"),)
                    return CallReply(200, is_from_pim=True, items=items)
            return None

        made = drive(pim)
        made.upsert("packshots", "a", media=file())
        made.run()
        forgotten.add(f"code1:{sha256_of(URL)}")
        again = made.upsert("packshots", "a", media=file())
        made.run()
        assert outcome(made, again) == ("applied", "updated")
        assert codes(made)[-2:] == [f"code1:{sha256_of(URL)}", f"code2:{sha256_of(URL)}"]

        forgotten.update(f"code{number}:{sha256_of(URL)}" for number in (2, 3))
        refused = made.upsert("packshots", "a", media=file())
        made.run()
        assert outcome(made, refused) == ("rejected", "refused_by_pim")
        assert len(made.uploads) == 3

    def test_a_code_that_was_just_uploaded_is_not_uploaded_again(self) -> None:
        def pim(request: Request, _now: float) -> Answer | None:
            is_write = isinstance(request, UpsertAssets)
            items = (ItemReply("a", 422, "no"),)
            return CallReply(200, is_from_pim=True, items=items) if is_write else None

        made = drive(pim)
        id_ = made.upsert("packshots", "a", media=file())
        made.run()

        assert outcome(made, id_) == ("rejected", "refused_by_pim")
        assert len(made.uploads) == 1


def of(values: object) -> Iterable[Any]:
    """All values of an asset."""
    assert isinstance(values, dict)
    return [value for given in values.values() for value in given]


def knows(**attributes: Attribute) -> Pim:
    """A PIM whose families have these attributes."""

    def pim(request: Request, _now: float) -> Answer | None:
        if isinstance(request, GetAttributes):
            found = (Attribute("text", "text"), *attributes.values())
            return CallReply(200, is_from_pim=True, attributes=found)
        return None

    return pim


PICTURE = Attribute("media", "media_file", extensions=frozenset({"jpg", "png"}), bytes_max=2_000)


class TestRefused:
    """What may not be fetched, or is not what the event says, never reaches the PIM."""

    @pytest.mark.parametrize(
        ("value", "named"),
        [
            (file("https://evil.example/boot.jpg"), "'evil.example'"),
            (file("https://x.cdn.example/boot.jpg"), "'x.cdn.example'"),
            (file("http://cdn.example/boot.jpg"), "no TLS"),
            (file("ftp://cdn.example/boot.jpg"), "not an address of the web"),
            (file("boot.jpg"), "not an address of the web"),
            (file("https://[::1/boot.jpg"), "not valid"),
            (file("https://user:pass@cdn.example/boot.jpg"), "names a user"),
            (file("https://cdn.example/boot.gif"), "the extension gif; media accepts jpg, png"),
            (file("https://cdn.example/boot"), "no extension"),
            (file(name="boot.gif"), "boot.gif has the extension gif"),
        ],
    )
    def test_before_anything_is_fetched(self, value: object, named: str) -> None:
        made = drive(knows(media=PICTURE), limits={"structure": StructureOptions()})
        id_ = made.upsert("packshots", "a", media=value)
        made.run()

        assert outcome(made, id_) == ("rejected", "media_refused")
        assert named in made.outcomes[id_]["message"]
        assert "pass" not in made.outcomes[id_]["message"]
        assert made.outcomes[id_]["pim"] is None
        assert not made.source.started
        assert not made.writes

    def test_media_are_off_without_hosts(self) -> None:
        made = drive(limits={"media": MediaOptions()})
        id_ = made.upsert("packshots", "a", media=file())
        made.run()

        assert outcome(made, id_) == ("rejected", "media_refused")
        assert "ASSET_SYNC_MEDIA__HOSTS" in made.outcomes[id_]["message"]

    def test_a_file_is_for_media_files_alone(self) -> None:
        made = drive(knows(media=PICTURE), limits={"structure": StructureOptions()})
        id_ = made.upsert("packshots", "a", text=file())
        made.run()

        assert outcome(made, id_) == ("rejected", "invalid_values")
        assert "does not accept a file" in made.outcomes[id_]["message"]

    @pytest.mark.parametrize(
        ("end", "value", "named"),
        [
            (DownloadRefused("the host answers 404."), file(), "404"),
            (downloaded("x", size=2_001), file(), "2001 bytes; the limit is 2000"),
            (downloaded("x"), file(sha256="0" * 64), "SHA-256"),
        ],
    )
    def test_by_what_was_fetched(self, end: DownloadEnd, value: object, named: str) -> None:
        source = FileSource(lambda _url, _now: end)
        made = drive(knows(media=PICTURE), limits={"structure": StructureOptions()}, source=source)
        id_ = made.upsert("packshots", "a", media=value)
        made.run()

        assert outcome(made, id_) == ("rejected", "media_refused")
        assert named in made.outcomes[id_]["message"]
        assert source.started[0].bytes_max == 2_000
        assert not source.on_disk
        assert not made.uploads
        assert not made.writes

    def test_a_url_is_shown_without_its_query(self) -> None:
        source = FileSource(lambda _url, _now: DownloadRefused("the host answers 403."))
        made = drive(source=source)
        id_ = made.upsert("packshots", "a", media=file(f"{URL}?signature=secret"))
        made.run()

        assert URL in made.outcomes[id_]["message"]
        assert "secret" not in str(made.outcomes[id_])
        assert "secret" not in str(made.facts)

    def test_a_merged_change_is_refused_alone(self) -> None:
        """The other changes of the asset are applied, in order."""
        source = FileSource(lambda url, _now: DownloadRefused("404.") if "gone" in url else None)
        made = drive(source=source)
        ids = [
            made.upsert("packshots", "a", text="1"),
            made.upsert("packshots", "a", media=file("https://cdn.example/gone.jpg")),
            made.upsert("packshots", "a", other=file()),
        ]
        made.run()

        assert [outcome(made, id_) for id_ in ids] == [
            ("applied", "created"),
            ("rejected", "media_refused"),
            ("applied", "updated"),
        ]
        assert source.urls.count("https://cdn.example/gone.jpg") == 1

    def test_the_pim_may_refuse_a_file(self) -> None:
        """That ends every asset that waits for it, without another upload."""

        def pim(request: Request, _now: float) -> Answer | None:
            if isinstance(request, UploadFile):
                return CallReply(422, is_from_pim=True, message="Bad file.")
            return None

        made = drive(pim)
        ids = [made.upsert("packshots", code, media=file()) for code in "ab"]
        made.run()

        assert [outcome(made, id_) for id_ in ids] == [("rejected", "refused_by_pim")] * 2
        assert made.outcomes[ids[0]]["pim"]["status_code"] == 422
        assert sum(isinstance(sent.request, UploadFile) for sent in made.sent) == 1
        assert not made.source.on_disk

    @pytest.mark.parametrize("others", [0, 2])
    def test_the_pim_may_refuse_a_file_that_an_asset_names_twice(self, others: int) -> None:
        def pim(request: Request, _now: float) -> Answer | None:
            if isinstance(request, UploadFile):
                return CallReply(422, is_from_pim=True, message="Bad file.")
            return None

        made = drive(pim, source=FileSource(lambda _url, _now: downloaded("boot")))
        urls = [f"{URL}?{number}" for number in range(others + 2)]
        ids = [made.upsert("packshots", "a", media=file(urls[0]), other=file(urls[1]))]
        ids += [
            made.upsert("packshots", f"b{url[-1]}", media=file(urls[1]), other=file(url))
            for url in urls[2:]
        ]
        made.run()

        assert [outcome(made, id_) for id_ in ids] == [("rejected", "refused_by_pim")] * len(ids)
        assert not made.source.on_disk


LOST = CallFault(FaultKind.FILE_LOST, "It is gone from disk.")


def losing(times: int, lost: list[float]) -> Pim:
    """Return the answers where so many uploads lose their file; `lost` gets when they did."""

    def pim(request: Request, now: float) -> Answer | None:
        if not isinstance(request, UploadFile) or len(lost) >= times:
            return None
        lost.append(now)
        return LOST

    return pim


class TestFailing:
    """Sources that fail are tried again; then their changes fail."""

    def test_a_source_that_comes_back_costs_nothing(self) -> None:
        source = FileSource(lambda _url, now: DownloadFault("503.") if now < 20 else None)
        made = drive(source=source)
        id_ = made.upsert("packshots", "a", media=file())
        made.run()

        assert outcome(made, id_) == ("applied", "created")
        assert len(source.urls) > 2

    def test_after_so_many_tries_the_change_fails(self) -> None:
        source = FileSource(lambda _url, _now: DownloadFault("No answer within 300 s."))
        made = drive(source=source, limits={"retry_attempts_max": 3})
        id_ = made.upsert("packshots", "a", media=file())
        behind = made.upsert("packshots", "a", text="x")
        made.run()

        assert outcome(made, id_) == ("failed", "media_failed")
        assert "No answer within 300 s." in made.outcomes[id_]["message"]
        assert len(source.urls) == 3
        assert outcome(made, behind) == ("applied", "created")

    def test_a_source_says_when_to_come_again(self) -> None:
        source = FileSource(lambda _url, now: DownloadFault("429.", 100.0) if now < 50 else None)
        made = drive(source=source)
        made.upsert("packshots", "a", media=file())
        made.run()

        assert len(source.urls) == 2
        assert made.now > 100

    def test_a_host_that_fails_delays_no_other_host(self) -> None:
        """Hosts take turns, and one that fails is asked for one file at a time."""

        def answer(url: str, _now: float) -> DownloadEnd | None:
            return DownloadFault("No connection.") if "cdn" in url else None

        source = FileSource(answer, seconds=30.0)
        made = drive(source=source, limits={"dead_letter_share_max": 1.0})
        failing = [
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
            for n in range(200)
        ]
        made.run(200.0)
        well = [
            made.upsert("packshots", f"b{n}", media=file(f"https://other.example/{n}.jpg"))
            for n in range(10)
        ]
        made.run()

        assert made.last_completed_at(well) < 200 + 200
        assert made.statuses(well) == {"applied": 10}
        assert made.statuses(failing) == {"failed": 200}
        assert made.last_completed_at(failing) < 1_500, "they fail together"
        assert {made.outcomes[id_]["reason"] for id_ in failing} == {"media_failed"}

    def test_a_slow_host_delays_no_other_host(self) -> None:
        """However many files it has, one download is left for others."""
        source = FileSource(seconds=300.0)
        made = drive(source=source)
        for n in range(20):
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
        made.run(50.0)
        assert len(source.running) == MEDIA.downloads_at_once_max - 1
        source.seconds = 1.0
        well = made.upsert("packshots", "b", media=file("https://other.example/b.jpg"))
        made.run(10.0)

        assert outcome(made, well) == ("applied", "created")

    @pytest.mark.parametrize(("host", "most"), [("cdn.example", 4), ("*.example", 3)])
    def test_the_only_host_has_all_downloads(self, host: str, most: int) -> None:
        made = drive(limits={"media": MediaOptions(hosts=frozenset({host}))})
        for n in range(20):
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
        made.run()

        assert made.source.at_once_max == most

    def test_a_failing_host_is_asked_again_when_it_said_so(self) -> None:
        """Also for files that it was not asked for before."""
        asked: list[float] = []

        def answer(_url: str, now: float) -> DownloadEnd | None:
            asked.append(now)
            return DownloadFault("429.", 100.0) if now < 90 else None

        made = drive(source=FileSource(answer))
        ids = [
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
            for n in range(30)
        ]
        made.run()

        assert made.statuses(ids) == {"applied": 30}
        assert sum(at < 100 for at in asked) <= 5, "those that began before the third had failed"

    @pytest.mark.parametrize(("until", "status"), [(290, "applied"), (1e9, "failed")])
    def test_a_host_that_said_when_to_come_again_is_asked_then(
        self, until: float, status: str
    ) -> None:
        """Before its files are given up, which have waited as long as the retry budget allows."""

        def answer(_url: str, now: float) -> DownloadEnd | None:
            return DownloadFault("429.", 300.0) if now < until else None

        made = drive(source=FileSource(answer), limits={"dead_letter_share_max": 1.0})
        ids = [
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
            for n in range(30)
        ]
        made.run()

        assert made.statuses(ids) == {status: 30}
        assert made.last_completed_at(ids) < 400

    def test_a_full_disk_says_nothing_of_any_host(self) -> None:
        """One file is tried at a time, and when there is room again, all are fetched."""
        full = DownloadFault("The disk is full.", is_of_disk=True)
        source = FileSource(lambda _url, now: full if now < 200 else None)
        made = drive(source=source)
        urls = [f"https://{host}.example/{n}.jpg" for n in range(20) for host in ("cdn", "other")]
        ids = [made.upsert("packshots", f"a{n}", media=file(url)) for n, url in enumerate(urls)]
        made.run(190.0)
        assert len(source.urls) < 40, "not each file again and again"
        assert not list(made.pipeline.dispatcher.files.downloads._queue.failing())
        source.at_once_max = 0
        made.run()

        assert made.statuses(ids) == {"applied": 40}
        assert source.at_once_max > 1
        assert made.last_completed_at(ids) < 300

    @pytest.mark.parametrize(
        ("until", "ending", "within"),
        [(250.0, "created", (250, 300)), (1e9, "media_failed", (300, 350))],
    )
    def test_a_full_disk_uses_up_no_tries(
        self, until: float, ending: str, within: tuple[float, float]
    ) -> None:
        """There is as much time as the retry budget has seconds, also for a single file."""
        full = DownloadFault("The disk is full.", is_of_disk=True)
        made = drive(source=FileSource(lambda _url, now: full if now < until else None))
        id_ = made.upsert("packshots", "a", media=file())
        made.run()

        assert outcome(made, id_)[1] == ending
        assert within[0] < made.now < within[1]
        is_disk_named = "takes no file at present" in (made.outcomes[id_]["message"] or "")
        assert is_disk_named == (ending == "media_failed")

    def test_a_disk_that_stays_full_fails_the_changes(self) -> None:
        full = DownloadFault("The disk is full.", is_of_disk=True)
        made = drive(
            source=FileSource(lambda _url, _now: full), limits={"dead_letter_share_max": 1.0}
        )
        ids = [
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
            for n in range(40)
        ]
        made.run()

        assert made.statuses(ids) == {"failed": 40}
        assert made.last_completed_at(ids) < 400
        said = {made.outcomes[id_]["message"].partition(".")[0] for id_ in ids}
        assert "Waited too long: the disk of asset-sync takes no file at present" in said
        assert not any("no file of cdn.example" in words for words in said)

    def test_a_url_that_cannot_be_asked_shows_nothing_of_its_host(self) -> None:
        """The host is still down, and still asked for one file at a time."""

        def answer(url: str, _now: float) -> DownloadEnd:
            if ":abc" in url:
                return DownloadRefused("Invalid port: 'abc'.", is_from_host=False)
            return DownloadFault("No connection.")

        made = drive(source=FileSource(answer), limits={"dead_letter_share_max": 1.0})
        for n in range(5):
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
        made.run(100.0)
        before = len(made.source.urls)
        ids = []
        for n in range(10):
            bad = file(f"https://cdn.example:abc/{n}.jpg")
            ids.append(made.upsert("packshots", f"b{n}", media=bad))
            made.run(10.0)

        assert sum(":abc" not in url for url in made.source.urls[before:]) < 10
        made.run()
        assert made.statuses(ids) == {"rejected": 10}

    def test_a_host_that_was_not_asked_whether_a_file_has_changed_fails(self) -> None:
        source = FileSource(lambda _url, _now: NotModified())
        made = drive(source=source, limits={"retry_attempts_max": 3})
        id_ = made.upsert("packshots", "a", media=file())
        made.run()

        assert outcome(made, id_) == ("failed", "media_failed")
        assert len(source.urls) == 3


class TestGivenUpEarly:
    """A file that cannot be fetched may not hold up others."""

    def test_a_partition_at_its_span_limit_goes_on(self) -> None:
        def answer(url: str, _now: float) -> DownloadEnd | None:
            return DownloadFault("503.") if "bad" in url else None

        made = drive(limits={"span_pause_offsets": 20}, source=FileSource(answer))
        bad = made.upsert("packshots", "a", media=file("https://cdn.example/bad.jpg"))
        ids = [made.upsert("packshots", f"b{number}", text="x") for number in range(60)]
        made.run()

        assert outcome(made, bad) == ("failed", "media_failed")
        assert "Given up early" in made.outcomes[bad]["message"]
        assert made.statuses(ids) == {"applied": 60}
        assert made.last_completed_at(ids) < 60, "long before its retry budget was used up"

    def test_a_lost_file_is_fetched_again_while_its_partition_waits(self) -> None:
        """Its source has shown that it works."""
        lost: list[float] = []
        source = FileSource(seconds=10.0)
        made = drive(losing(1, lost), limits={"span_pause_offsets": 20}, source=source)
        id_ = made.upsert("packshots", "a", media=file())
        ids = [made.upsert("packshots", f"b{number}", text="x") for number in range(60)]
        made.run()

        assert lost
        assert made.statuses([id_, *ids]) == {"applied": 61}

    def test_files_that_fail_hold_at_most_a_quarter_of_what_may_be_pending(self) -> None:
        source = FileSource(lambda _url, _now: DownloadFault("503."), seconds=5.0)
        made = drive(source=source, limits={"pending_changes_max": 40})
        for number in range(40):
            made.upsert("packshots", f"a{number}", media=file(f"https://cdn.example/{number}.jpg"))
        well = [made.upsert("packshots", f"b{number}", text="x") for number in range(20)]
        made.run(200.0)

        assert made.statuses(well) == {"applied": 20}
        assert made.last_completed_at(well) < 60
        reasons = {found["message"][:14] for found in made.outcomes.values() if found["message"]}
        assert reasons == {"Given up early"}

    def test_a_probe_that_is_given_up_frees_its_host(self) -> None:
        """The host is asked for the next file, instead of waiting for one that was cancelled."""
        source = FileSource(lambda _url, now: DownloadFault("503.") if now < 10 else None)
        made = drive(limits={"span_pause_offsets": 20}, source=source)
        for number in range(5):
            made.upsert("packshots", f"a{number}", media=file(f"https://cdn.example/{number}.jpg"))
        made.run(5.0)
        source.seconds = 1_000.0
        made.run(20.0)
        assert len(source.running) == 1, "the host is failing"
        for number in range(60):
            made.upsert("packshots", f"b{number}", text="x")
        made.run(10.0)
        assert not source.running
        source.seconds = 1.0
        later = made.upsert("packshots", "c", media=file("https://cdn.example/later.jpg"))
        made.run(60.0)

        assert outcome(made, later) == ("applied", "created")

    def test_a_slow_file_is_not_given_up(self) -> None:
        """It has not failed: its partition waits."""
        made = drive(limits={"span_pause_offsets": 20}, source=FileSource(seconds=200.0))
        slow = made.upsert("packshots", "a", media=file())
        for number in range(60):
            made.upsert("packshots", f"b{number}", text="x")
        made.run()

        assert outcome(made, slow) == ("applied", "created")


class TestMerged:
    """A later change replaces a file that was not fetched yet."""

    def test_a_file_whose_download_has_not_begun_is_replaced(self) -> None:
        limits = {"media": MediaOptions(hosts=MEDIA.hosts, downloads_at_once_max=1)}
        made = drive(limits=limits, source=FileSource(seconds=10.0))
        made.upsert("packshots", "first", media=file("https://cdn.example/first.jpg"))
        made.run(1.0)
        old = made.upsert("packshots", "a", media=file("https://cdn.example/old.jpg"))
        made.run(2.0)
        new = made.upsert("packshots", "a", media=file("https://cdn.example/new.jpg"))
        made.run()

        assert outcome(made, old) == ("applied", "merged")
        assert outcome(made, new) == ("applied", "created")
        assert made.source.urls == ["https://cdn.example/first.jpg", "https://cdn.example/new.jpg"]

    def test_a_delete_makes_the_download_needless(self) -> None:
        limits = {"media": MediaOptions(hosts=MEDIA.hosts, downloads_at_once_max=1)}
        made = drive(limits=limits, source=FileSource(seconds=10.0))
        made.upsert("packshots", "first", media=file("https://cdn.example/first.jpg"))
        made.run(1.0)
        old = made.upsert("packshots", "a", media=file("https://cdn.example/old.jpg"))
        made.run(2.0)
        gone = made.delete("packshots", "a")
        made.run()

        assert outcome(made, old)[0] == "superseded"
        assert outcome(made, gone) == ("applied", "absent")
        assert made.source.urls == ["https://cdn.example/first.jpg"]

    def test_an_asset_that_changes_all_the_time_is_sent_all_the_same(self) -> None:
        limits = {"media": MediaOptions(hosts=MEDIA.hosts, downloads_at_once_max=1)}
        made = drive(limits=limits, source=FileSource(seconds=50.0))
        for number in range(4):
            url = f"https://cdn.example/{number}.jpg"
            made.upsert("packshots", f"first{number}", media=file(url))
        made.run(1.0)
        ids = []
        for number in range(300):
            ids.append(
                made.upsert("packshots", "a", media=file(f"https://cdn.example/{number}.png"))
            )
            made.run(1.0)
        assert made.statuses(ids)["applied"] > 10


class TestLimits:
    """What files may take."""

    def test_downloads_and_bytes_on_disk_are_bounded(self) -> None:
        media = MediaOptions(
            hosts=MEDIA.hosts,
            file_bytes_max=1_000,
            disk_bytes_max=2_500,
            downloads_at_once_max=3,
        )

        def pim(request: Request, now: float) -> Answer | None:
            is_out = isinstance(request, UploadFile) and now < 30
            return CallFault(FaultKind.CONNECTION, "refused") if is_out else None

        source = FileSource(lambda url, _now: downloaded(url, size=700))
        made = drive(pim, limits={"media": media}, source=source)
        ids = [
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
            for n in range(40)
        ]
        made.run()

        assert made.statuses(ids) == {"applied": 40}
        assert source.at_once_max == 2, "two files of the largest size fit"
        assert source.bytes_max <= 2_500
        assert not source.on_disk

    def test_uploads_take_at_most_half_of_the_slots(self) -> None:
        out: set[float] = set()
        made = drive(limits={"calls_at_once_max": 4}, call_seconds=5.0)
        for number in range(30):
            made.upsert("packshots", f"a{number}", media=file(f"https://cdn.example/{number}.jpg"))
        made.run()

        uploads = [sent for sent in made.sent if isinstance(sent.request, UploadFile)]
        for one in uploads:
            out.add(sum(o.at <= one.at < o.ended_at for o in uploads))
        assert len(uploads) == 30
        assert max(out) == 2

    def test_each_upload_counts_against_the_rate(self) -> None:
        made = drive(limits={"calls_per_second_max": 2})
        for number in range(10):
            made.upsert("packshots", f"a{number}", media=file(f"https://cdn.example/{number}.jpg"))
        made.run()

        times = sorted(sent.at for sent in made.sent)
        assert all(later - at >= 1.0 - 1e-9 for at, later in zip(times, times[2:], strict=False))


class TestUploads:
    """An upload is a call of its asset alone."""

    def test_an_outage_of_the_pim_uses_up_no_budget(self) -> None:
        def pim(_request: Request, now: float) -> Answer | None:
            return CallReply(503) if 5 < now < 2_000 else None

        made = drive(pim, source=FileSource(seconds=10.0))
        ids = [
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
            for n in range(10)
        ]
        made.run()

        assert made.statuses(ids) == {"applied": 10}
        assert made.noted("breaker.opened")

    def test_a_throttled_upload_goes_again(self) -> None:
        asked: list[float] = []

        def pim(request: Request, now: float) -> Answer | None:
            if isinstance(request, UploadFile):
                asked.append(now)
                return CallReply(429, retry_after_seconds=20.0) if len(asked) == 1 else None
            return None

        made = drive(pim)
        id_ = made.upsert("packshots", "a", media=file())
        made.run()

        assert outcome(made, id_) == ("applied", "created")
        assert asked[1] - asked[0] >= 20.0
        assert made.source.urls == [URL], "it is still on disk"

    def test_an_upload_that_fails_by_itself_fails_its_asset(self) -> None:
        """The next asset that waits for the file tries it; then the file is dropped."""

        def pim(request: Request, _now: float) -> Answer | None:
            is_bad = isinstance(request, UploadFile) and request.name == "bad.jpg"
            return CallReply(500) if is_bad else None

        made = drive(pim, limits={"retry_attempts_max": 3})
        bad = [
            made.upsert("packshots", code, media=file("https://cdn.example/bad.jpg"))
            for code in "ab"
        ]
        for number in range(200):
            made.upsert("manuals", f"c{number}", text="x")
            made.run(1.0)
        made.run()

        assert made.statuses(bad) == {"failed": 2}
        assert {made.outcomes[id_]["reason"] for id_ in bad} == {"pim_error"}
        assert all("bad.jpg could not be uploaded." in made.outcomes[id_]["message"] for id_ in bad)
        assert [made.outcomes[id_]["media"][0]["result"] for id_ in bad] == ["failed"] * 2
        assert made.statuses()["applied"] == 200
        assert not made.source.on_disk

    def test_a_file_that_an_asset_names_twice_is_left_once(self) -> None:
        """The asset that gives up an upload is not the next one that uploads the content."""

        def pim(request: Request, _now: float) -> Answer | None:
            return CallReply(500) if isinstance(request, UploadFile) else None

        source = FileSource(lambda _url, _now: downloaded("boot"))
        made = drive(pim, source=source, limits={"retry_attempts_max": 3})
        id_ = made.upsert("packshots", "a", media=file(f"{URL}?1"), other=file(f"{URL}?2"))
        for number in range(100):
            made.upsert("manuals", f"c{number}", text="x")
            made.run(1.0)
        made.run()

        assert outcome(made, id_) == ("failed", "pim_error")
        assert not made.source.on_disk

    def test_a_file_that_is_gone_from_disk_is_fetched_again(self) -> None:
        """That shows nothing of the PIM, which is down at that time, nor of the file's host."""
        loses = losing(3, [])

        def pim(request: Request, now: float) -> Answer | None:
            return loses(request, now) or (CallReply(503) if now < 300 else None)

        made = drive(pim)
        others = [made.upsert("manuals", f"b{number}", text="x") for number in range(5)]
        ids = [made.upsert("packshots", code, media=file()) for code in "ab"]
        made.run()

        assert made.statuses(ids + others) == {"applied": 7}
        assert made.source.urls == [URL] * 4
        assert len(made.uploads) == 1
        assert all(at >= 300 for at in made.noted("breaker.closed"))
        assert not made.source.on_disk

    def test_what_failed_before_a_file_was_fetched_does_not_count_once_it_is_lost(self) -> None:
        """However long its upload took, and however often it had failed."""
        source = FileSource(lambda _url, now: DownloadFault("503.") if now < 2 else None)
        limits = {"retry_attempts_max": 2}
        made = drive(losing(1, []), source=source, call_seconds=700.0, limits=limits)
        id_ = made.upsert("packshots", "a", media=file())
        made.run()

        assert outcome(made, id_) == ("applied", "created")
        assert len(source.urls) == 3

    def test_a_disk_that_loses_every_file_fails_the_changes(self) -> None:
        """It is no reason to reject them: they may be replayed."""
        made = drive(
            lambda request, _now: LOST if isinstance(request, UploadFile) else None,
            limits={"retry_attempts_max": 3},
        )
        ids = [made.upsert("packshots", code, media=file()) for code in "ab"]
        later = made.upsert("packshots", "a", text="x")
        made.run()

        assert [outcome(made, id_) for id_ in ids] == [("failed", "media_failed")] * 2
        assert "It is gone from disk." in made.outcomes[ids[0]]["message"]
        assert outcome(made, later) == ("applied", "created")
        assert made.source.urls == [URL] * 3
        assert not made.source.on_disk

    def test_another_file_of_the_same_content_is_uploaded_where_one_is_lost(self) -> None:
        lost: list[int] = []

        def pim(request: Request, _now: float) -> Answer | None:
            if isinstance(request, UploadFile) and not lost:
                lost.append(request.file_id)
                return CallFault(FaultKind.FILE_LOST, "It is gone from disk.")
            return None

        made = drive(pim, source=FileSource(lambda _url, _now: downloaded("boot")))
        ids = [made.upsert("packshots", str(n), media=file(f"{URL}?{n}")) for n in range(2)]
        made.run()

        assert made.statuses(ids) == {"applied": 2}
        assert [upload.file_id for upload in made.uploads] == [3 - lost[0]]
        first, second = (made.settled_at[id_] for id_ in ids)
        assert abs(first - second) > 0.5, "the other asset does not wait for the lost file"

    def test_an_asset_that_another_file_has_ended_fetches_no_lost_file_again(self) -> None:
        """It waits only for the end of its own upload."""

        def pim(request: Request, now: float) -> Answer | None:
            if isinstance(request, UploadFile):
                return DOWN if now < 60 else CallFault(FaultKind.FILE_LOST, "It is gone.")
            return None

        def answer(url: str, now: float) -> DownloadEnd | None:
            if "gone" not in url:
                return None
            return DownloadRefused("404.") if now > 30 else DownloadFault("503.")

        made = drive(pim, source=FileSource(answer))
        gone = file("https://other.example/gone.jpg")
        id_ = made.upsert("packshots", "a", media=file(), other=gone)
        made.run()

        assert outcome(made, id_) == ("rejected", "media_refused")
        assert made.source.urls.count(URL) == 1
        assert not made.source.on_disk

    def test_an_upload_without_a_code_is_no_success(self) -> None:
        answers = iter([CallReply(201), CallReply(201, media_code="the/code")])

        def pim(request: Request, _now: float) -> Answer | None:
            return next(answers) if isinstance(request, UploadFile) else None

        made = drive(pim)
        made.upsert("packshots", "a", media=file())
        made.run()

        assert codes(made) == ["the/code"]

    def test_a_failing_family_keeps_no_file_of_another_from_the_disk(self) -> None:
        """Its files are uploaded too: an upload names no family."""
        media = MediaOptions(hosts=MEDIA.hosts, file_bytes_max=1_000, disk_bytes_max=2_000)

        def pim(request: Request, _now: float) -> Answer | None:
            is_sick = isinstance(request, UpsertAssets) and request.family == "sick"
            return CallReply(502) if is_sick else None

        made = drive(pim, limits={"media": media, "dead_letter_share_max": 1.0})
        for number in range(30):
            made.upsert("sick", f"a{number}", media=file(f"https://cdn.example/{number}.jpg"))
            made.upsert("well", f"a{number}", text="x")
        made.run(200.0)
        assert made.noted("family.failing")
        well = [
            made.upsert("well", f"b{number}", media=file(f"https://cdn.example/{number}.png"))
            for number in range(10)
        ]
        made.run(60.0)

        assert made.statuses(well) == {"applied": 10}

    def test_a_family_that_fails_for_files_does_not_fail_for_others(self) -> None:
        """Uploads name no family: what fails them makes no lane failing."""

        def pim(request: Request, _now: float) -> Answer | None:
            return CallReply(500) if isinstance(request, UploadFile) else None

        made = drive(pim, limits={"retry_attempts_max": 4})
        bad = [
            made.upsert("packshots", f"a{n}", media=file(f"https://cdn.example/{n}.jpg"))
            for n in range(6)
        ]
        for number in range(300):
            made.upsert("packshots", f"b{number}", text="x")
            made.run(1.0)
        made.run()

        assert not made.noted("family.failing")
        assert made.statuses(bad) == {"failed": 6}
        assert made.statuses()["applied"] == 300
