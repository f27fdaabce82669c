"""Pages in a real browser: Chromium, headless."""
