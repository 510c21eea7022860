from __future__ import annotations

from pathlib import Path

import pytest

from libs.common.config.collectors import SyslogSink
from services.auditor.sinks import SinkDown
from services.auditor.sinks.kinds import make_sink
from services.auditor.sinks.unmade import Unmade
from tests.services.auditor.sinks.certificates import issued
from tests.services.auditor.sinks.collecting import collecting
from tests.services.auditor.sinks.events import batch

pytestmark = pytest.mark.anyio


async def test_a_sink_without_its_certificate_is_down_until_it_is_there(tmp_path: Path) -> None:
    certificates = issued(tmp_path)
    (tmp_path / "ca.pem").rename(tmp_path / "later.pem")
    async with collecting(certificates.server) as collector:
        url = f"tls://127.0.0.1:{collector.port}"
        table = SyslogSink.model_validate({"type": "syslog", "url": url, "tls": certificates.trusted})
        sink = Unmade(lambda: make_sink(table))
        with pytest.raises(SinkDown, match=r"ca_cert_path.* cannot be used") as caught:
            await sink.deliver(batch(1, 2))
        assert caught.value.retry_after == 30
        (tmp_path / "later.pem").rename(tmp_path / "ca.pem")
        assert list(await sink.deliver(batch(1, 2))) == [0, 1]
        await collector.until(lambda: collector.uids == ["u1", "u2"])
        await sink.close()
