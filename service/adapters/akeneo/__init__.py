"""The Asset API of Akeneo PIM over HTTP; it translates and limits, the core decides."""
