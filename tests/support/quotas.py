"""Set a quota of a client on a broker: aiokafka's admin client cannot (AlterClientQuotas)."""

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Float64, Int16, Int32, Schema, String

_TEXT = String("utf-8")
_ENTITY = ("entity", Array(("type", _TEXT), ("name", _TEXT)))


class _Response0(Response):  # type: ignore[misc]
    API_KEY = 49
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("entries", Array(("error_code", Int16), ("error_message", _TEXT), _ENTITY)),
    )


class _Request0(RequestStruct):  # type: ignore[misc]
    API_KEY = 49
    API_VERSION = 0
    RESPONSE_TYPE = _Response0
    SCHEMA = Schema(
        (
            "entries",
            Array(_ENTITY, ("ops", Array(("key", _TEXT), ("value", Float64), ("remove", Boolean)))),
        ),
        ("validate_only", Boolean),
    )


class _AlterClientQuotas(Request[_Request0]):  # type: ignore[misc]
    API_KEY = 49

    def __init__(self, client_id: str, key: str, value: float) -> None:
        self._entry = ([("client-id", client_id)], [(key, value, False)])

    def build(self, request_struct_class: type[_Request0]) -> Any:  # noqa: ANN401 - aiokafka's
        return request_struct_class([self._entry], False)  # noqa: FBT003 - a field


async def limit_client(bootstrap: str, client_id: str, key: str, value: float) -> None:
    """Set a quota, such as `producer_byte_rate` in bytes a second, for clients with this id."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin._client.send(
            admin._client.get_random_node(), _AlterClientQuotas(client_id, key, value)
        )
        ((code, message, _),) = answer.entries
        assert code == 0, message
    finally:
        await admin.close()
