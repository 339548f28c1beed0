"""Segmentations wait for each other: all are served, one at a time, however many come at once."""

import asyncio
from typing import Any

import httpx
import pytest
from guarded import BASE, Guarded

from radseg.pipelines.label_server.guard.bodies import GoneError
from radseg.pipelines.label_server.guard.queues import Queues
from radseg.pipelines.label_server.refused import Refused


def test_two_hundred_at_once_are_all_served_one_at_a_time() -> None:
    at_work = most = 0

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"mask"})

    server = Guarded(answers)
    headers = {"Authorization": f"Bearer {server.token()}"}

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=server.guard)
        async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
            asked = (client.post("/infer/spine?image=ct_2", data={"params": "{}"}) for _ in range(200))
            return await asyncio.gather(*asked)

    answered = asyncio.run(run())
    assert [one.status_code for one in answered] == [200] * 200
    assert [one.content for one in answered] == [b"mask"] * 200
    assert len(server.inner.seen) == 200
    assert most == 1


def test_others_are_answered_while_a_segmentation_runs() -> None:
    release = asyncio.Event()

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith("/infer"):
            await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    server = Guarded(answers)
    headers = {"Authorization": f"Bearer {server.token()}"}

    async def run() -> None:
        transport = httpx.ASGITransport(app=server.guard)
        async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
            waiting = [asyncio.create_task(client.post("/infer/spine?image=ct_2")) for _ in range(5)]
            assert (await client.get("/info/")).status_code == 200
            assert not any(one.done() for one in waiting)
            release.set()
            assert [one.status_code for one in await asyncio.gather(*waiting)] == [200] * 5

    asyncio.run(run())


def test_a_segmentation_that_fails_lets_the_next_one_in() -> None:
    async def answers(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("no")

    server = Guarded(answers)
    assert [server.ask("POST", "/infer/spine?image=ct_2").status_code for _ in range(3)] == [500] * 3


async def _nobody_hangs_up() -> Any:
    await asyncio.Event().wait()


def test_too_many_are_told_to_come_again() -> None:
    async def run() -> None:
        queues = Queues({"infer": 1}, longest=2)
        place = await queues.enter("infer", _nobody_hangs_up)
        waiting = [asyncio.create_task(queues.enter("infer", _nobody_hangs_up)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="ask again"):
            await queues.enter("infer", _nobody_hangs_up)
        place.leave()
        place.leave()
        (await waiting[0]).leave()
        (await waiting[1]).leave()
        (await queues.enter("infer", _nobody_hangs_up)).leave()

    asyncio.run(run())


def test_who_hangs_up_leaves_the_queue() -> None:
    async def run() -> None:
        queues = Queues({"infer": 1}, longest=1)
        place = await queues.enter("infer", _nobody_hangs_up)

        async def hangs_up() -> Any:
            return {"type": "http.disconnect"}

        for _ in range(3):
            with pytest.raises(GoneError):
                await queues.enter("infer", hangs_up)
        place.leave()
        (await queues.enter("infer", _nobody_hangs_up)).leave()

    asyncio.run(run())
