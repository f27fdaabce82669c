"""The settings of asset-sync and the code that reads them (contract.md §3)."""

from service.settings.addresses import is_loopback
from service.settings.console import ConsoleSettings
from service.settings.kafka import KafkaSettings
from service.settings.load import Credentials, Loaded, SettingsError, load, load_without_pim
from service.settings.media import MediaSettings, temporary_directory
from service.settings.model import Settings
from service.settings.reference import reference, variables
from service.settings.secrets import SecretStore, Unreadable, reserved_names
from service.settings.sections import (
    HttpSettings,
    IngressSettings,
    PimSettings,
    StructureSettings,
    is_visible_ascii,
)
from service.settings.variables import PREFIX

__all__ = [
    "PREFIX",
    "ConsoleSettings",
    "Credentials",
    "HttpSettings",
    "IngressSettings",
    "KafkaSettings",
    "Loaded",
    "MediaSettings",
    "PimSettings",
    "SecretStore",
    "Settings",
    "SettingsError",
    "StructureSettings",
    "Unreadable",
    "is_loopback",
    "is_visible_ascii",
    "load",
    "load_without_pim",
    "reference",
    "reserved_names",
    "temporary_directory",
    "variables",
]
