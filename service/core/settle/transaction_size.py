"""How large a transaction may be: smaller after one that Kafka did not take in time.

A broker with a quota delays the requests of a client that writes more, by up to 11 s each
(kafka.md §2). So a transaction of many requests takes longer than it may, and would do so however
often it is tried, while a small one passes. The size is halved after a failure and grows slowly,
as the congestion window of TCP does: after one that passed quickly, the next may be delayed.
"""

QUICK_SECONDS = 4.0
"""A transaction that took longer was delayed, so the next one is not larger."""


class TransactionSize:
    """The most bytes of the next transaction."""

    def __init__(self, bytes_max: int, bytes_min: int) -> None:
        """Begin with the largest; it never becomes smaller than `bytes_min`, and grows by that."""
        self._least = bytes_min
        self._most = self.bytes_max = bytes_max

    def committed(self, seconds: float) -> None:
        """Take note that Kafka took a transaction, and how long it took."""
        if seconds <= QUICK_SECONDS:
            self.bytes_max = min(self.bytes_max + self._least, self._most)

    def not_in_time(self, size: int) -> None:
        """Take note that Kafka did not take a transaction of this size in bytes in time.

        A small one was not too large: its connection may have been lost without a word.
        """
        if size > self._least:
            self.bytes_max = min(self._most, max(size // 2, self._least))
