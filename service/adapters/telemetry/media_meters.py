"""Counts what happens to media files."""

from collections.abc import Callable

from prometheus_client import Counter, Histogram

from service.core.facts import FileDownloadEnded, FileRemembered, FileUploadEnded

MediaFact = FileDownloadEnded | FileUploadEnded | FileRemembered


class MediaMeters:
    """The counters of downloads and uploads; `counter` and `histogram` make those by their name."""

    def __init__(
        self, counter: Callable[[str], Counter], histogram: Callable[[str], Histogram]
    ) -> None:
        self._downloads = counter("media_downloads")
        self._download_duration = histogram("media_download_duration_seconds")
        self._uploads = counter("media_uploads")
        self._upload_duration = histogram("media_upload_duration_seconds")
        self._bytes = counter("media_bytes")
        self._remembered = counter("media_remembered")

    def note(self, fact: MediaFact) -> None:
        match fact:
            case FileDownloadEnded():
                self._downloads.labels(fact.end).inc()
                self._download_duration.observe(fact.seconds)
                if fact.end == "downloaded":
                    self._bytes.labels("downloaded").inc(fact.size)
            case FileUploadEnded():
                self._uploads.labels(fact.end).inc()
                self._upload_duration.observe(fact.seconds)
                if fact.end == "uploaded":
                    self._bytes.labels("uploaded").inc(fact.size)
            case FileRemembered(by):
                self._remembered.labels(by).inc()
