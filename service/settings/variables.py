"""Names of environment variables that are not fields of the settings."""

PREFIX = "ASSET_SYNC_"
SECRETS_DIR = PREFIX + "SECRETS_DIR"
UNKNOWN_VARIABLES = PREFIX + "UNKNOWN_VARIABLES"
