"""Metrics of the service, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "shelfwise_requests", "Requests by route and status.", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "shelfwise_request_seconds",
            "Seconds from request to answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.decisions = Counter(
            "shelfwise_decisions", "Listings by decision and reason.", ("decision", "reason"), registry=registry
        )
        self.together = Histogram(
            "shelfwise_batch_asks", "Queries answered in one batch.", buckets=SIZES, registry=registry
        )
        self.waiting = Gauge("shelfwise_asks_waiting", "Queries that wait for a batch.", registry=registry)
        self.writes_waiting = Gauge("shelfwise_writes_waiting", "Writes waiting to be indexed.", registry=registry)
        self.version = Gauge("shelfwise_store_version", "Version of the store that is served.", registry=registry)
        self.items = Gauge("shelfwise_store_items", "Items in the version that is served.", registry=registry)
