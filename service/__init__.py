"""asset-sync: a bridge that carries asset changes from DAM systems to Akeneo PIM."""

__version__ = "0.2.0"
