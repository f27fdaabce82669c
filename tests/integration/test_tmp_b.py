import asyncio, json, time
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, NewPartitions
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.raw import raw_system, bucket_records, thin_records

pytestmark = [pytest.mark.kafka]


def log(s, n=0):
    for l in s.logs().splitlines()[n:]:
        d = json.loads(l) if l.startswith("{") else l
        print(
            {
                k: v
                for k, v in d.items()
                if k
                in (
                    "timestamp",
                    "event",
                    "level",
                    "message",
                    "why",
                    "error",
                    "records",
                    "source",
                    "topic",
                    "partition",
                )
            }
            if isinstance(d, dict)
            else l
        )
    return len(s.logs().splitlines())


async def test_b(bootstrap, tmp_path):
    pim = PimSimulator(free("packshots", "manuals"))
    async with raw_system(bootstrap, tmp_path, pim) as s:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        p = s.start_translate(KAFKA__SESSION_TIMEOUT_SECONDS="10")
        await s.publish_raw("bucket", bucket_records(30, 3))
        await s.publish_raw("thin", thin_records(30, 3))
        await s.assert_translated_once()
        n = log(s)
        print("=== delete bucket topic")
        await admin.delete_topics([s.raw_topics["bucket"]])
        await asyncio.sleep(15)
        await s.publish_raw("thin", thin_records(30, 3))
        await asyncio.sleep(5)
        n = log(s, n)
        print("poll", p.poll(), await s.get("/readyz?verbose"), await s.get("/livez?verbose"))
        m = (await s.get("/metrics"))[1]
        print(
            [l for l in m.splitlines() if l.startswith("asset_sync_consumer_lag") or "unread" in l][
                :20
            ]
        )
        print("=== recreate")
        await admin.create_topics([NewTopic(s.raw_topics["bucket"], 3, 1)])
        await asyncio.sleep(2)
        await s.publish_raw("bucket", bucket_records(30, 3))
        await asyncio.sleep(20)
        n = log(s, n)
        print("poll", p.poll(), (await s.get("/readyz?verbose"))[1])
        c = await s.changes(1, quiet_seconds=1)
        print("changes", len(c), len({json.loads(x.value)["id"] for x in c}))
        print(p.stop(30))
        n = log(s, n)
        await admin.close()
