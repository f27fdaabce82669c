"""The Asset API of Akeneo PIM over HTTP: translates and bounds, decides nothing."""
