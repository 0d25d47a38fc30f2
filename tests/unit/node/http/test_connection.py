from wire import Recorder, serving

POST = b"POST /bayeux HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]"


async def test_a_request_is_answered() -> None:
    handler = Recorder()
    async with serving(handler) as served:
        client = served.connect()
        for _ in range(3):
            await client.send(POST)
            assert await client.response() == (
                200,
                {"content-type": "application/json;charset=UTF-8", "content-length": "2"},
                b"[]",
            )
        assert served.stats.head_cache_hits == 2
        assert served.stats.head_cache_misses == 1
    assert handler.requests == [("POST", "/bayeux", b"[]")] * 3
