"""The console's pure part: what people ask, what is kept of an outcome, and the pages as text.

It answers "where is my asset?" for people who know the asset but not Kafka. Nothing here does I/O
or reads the clock.
"""
