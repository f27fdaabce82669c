"""The media files of `run`: the folder of this process, and the client that downloads into it."""

from service.adapters.akeneo.api import Uploads
from service.adapters.media.download import HttpDownloads
from service.adapters.media.folder import MediaFolder
from service.adapters.tls import context
from service.core.media.hosts import AllowedHosts
from service.settings import PREFIX, MediaSettings, SettingsError


class Media:
    """What the files of assets need, where media are on."""

    def __init__(self, media: MediaSettings) -> None:
        """Make the folder, and remove what killed processes left beside it.

        Raises:
            SettingsError: the directory or the CA of the settings cannot be used.
        """
        tls = context(f"{PREFIX}MEDIA__CA_FILE", media.ca_file)
        hosts = AllowedHosts(media.public_host_names, media.private_host_names)
        folder = _folder(media)
        self.downloads = HttpDownloads(folder, hosts, media.timeout_seconds, tls)
        self.uploads = Uploads(folder, media.upload_timeout_seconds)

    async def close(self) -> None:
        """Close the connections, and remove the folder."""
        await self.downloads.close()


def media_of(media: MediaSettings) -> Media | None:
    """Return what media files need; None if no host is allowed, so that media are off.

    Raises:
        SettingsError: the directory or the CA of the settings cannot be used.
    """
    return Media(media) if media.are_on else None


def _folder(media: MediaSettings) -> MediaFolder:
    try:
        return MediaFolder(media.directory)
    except OSError as error:
        raise SettingsError(
            f"{PREFIX}MEDIA__DIR: {media.directory} cannot be used for media files: "
            f"{error.strerror or error}."
        ) from None
