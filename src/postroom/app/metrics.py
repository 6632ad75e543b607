"""What ``/metrics`` and ``/ready`` answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from postroom.app.core import Core
from postroom.app.observing import Log
from postroom.engine.silence import silent_for
from postroom.events import METRICS, TOKEN_REQUESTS
from postroom.model import Health

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family


class _Collector:
    """Hands our counters to the Prometheus library."""

    def __init__(self, log: Log, core: Core) -> None:
        self._log = log
        self._core = core

    def collect(self) -> Iterator[Family]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counters = {**self._log.counters, (TOKEN_REQUESTS, ()): float(self._core.kit.tokens.requests)}
        for metric in METRICS:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.sentence, labels=metric.labels)
            for (found, labels), value in counters.items():
                if found is metric:
                    named = dict(labels)
                    family.add_metric([named.get(label, "") for label in metric.labels], value)
            yield family


class Exposition:
    """The counters as Prometheus reads them."""

    def __init__(self, core: Core, log: Log) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST

        self.content_type = CONTENT_TYPE_LATEST
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(log, core))

    def text(self) -> bytes:
        """All of them, now."""
        from prometheus_client.exposition import generate_latest

        return generate_latest(self._registry)


async def readiness(core: Core) -> dict[str, object]:
    """How many clients run, and which of them are ill. Raises ``StoreError``."""
    conditions = await core.store.conditions()
    running = {section: mailbox.client for section in core.live.configuration.clients if (mailbox := core.mailbox(section))}
    sending = {section for section in core.live.configuration.senders if core.account(section) and section not in core.paused}
    now = core.clock.now()
    ill = sorted(
        found.client
        for found in conditions.values()
        if (found.client in running or found.client in sending)
        and (
            found.health in (Health.NEEDS_PERSON, Health.RETRYING)
            or (found.client in running and silent_for(found, running[found.client], now))
        )
    )
    return {"status": "sick" if ill else "ok", "clients": len(running) + len(sending), "sick": ill}
