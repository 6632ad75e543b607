"""``/metrics`` for Prometheus, ``/health`` and ``/ready``, on the address of ``web.listen``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from postroom.app.core import Core
from postroom.app.observing import Log
from postroom.engine.silence import silent_for
from postroom.errors import ConnectError
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


@asynccontextmanager
async def serving(core: Core, log: Log) -> AsyncIterator[str]:
    """Serve within the block; yields the address. Raises ``ConnectError`` when the port is taken."""
    from aiohttp import web
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(log, core))

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_request: web.Request) -> web.Response:
        conditions = await core.store.conditions()
        running = {section: mailbox.client for section in core.live.configuration.clients if (mailbox := core.mailbox(section))}
        now = core.clock.now()
        ill = sorted(
            found.client
            for found in conditions.values()
            if found.client in running
            and (found.health in (Health.NEEDS_PERSON, Health.RETRYING) or silent_for(found, running[found.client], now))
        )
        # 200 all the same: one sick mailbox is no reason to take the whole server out of service
        return web.json_response({"status": "sick" if ill else "ok", "clients": len(running), "sick": ill})

    application = web.Application()
    application.add_routes([web.get("/metrics", metrics), web.get("/health", health), web.get("/ready", ready)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        listen = core.live.configuration.web
        site = web.TCPSite(runner, listen.host, listen.port)
        try:
            await site.start()
        except OSError as error:
            raise ConnectError(
                f"web.listen {listen.host}:{listen.port}: {error.strerror}",
                remedy="Another program has the port: set listen in the web section to a free one, or 127.0.0.1:0.",
            ) from error
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
