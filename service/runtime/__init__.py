"""The asyncio shell around the core: it performs effects and decides nothing."""
