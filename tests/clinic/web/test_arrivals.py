import asyncio

import pytest

from biomedjourney_monai.clinic.web.arrivals import LineFullError, RequestQueue


def test_a_full_house_says_so_and_lets_in_again_when_there_is_room():
    line = RequestQueue(limit=2)
    with line.enter(), line.enter():
        with (
            pytest.raises(LineFullError, match=r"2 requests at a time; found 2 already\. Try again"),
            line.enter(),
        ):
            pass
        assert line.inside == 2
    with line.enter(), line.enter():
        pass
    assert line.inside == 0


def test_an_error_leaves_no_place_taken():
    line = RequestQueue(limit=1)
    with pytest.raises(ZeroDivisionError), line.enter():
        raise ZeroDivisionError
    assert line.inside == 0


def test_turns_come_one_at_a_time_in_order_and_tell_how_many_are_ahead():
    done, told, at_once = [], {}, []

    async def work(line, name):
        async with line.turn(lambda ahead: told.setdefault(name, []).append(ahead)):
            at_once.append(name)
            assert len(at_once) == 1
            await asyncio.sleep(0.01)
            at_once.remove(name)
            done.append(name)

    async def all_of_them():
        line = RequestQueue(limit=9)
        await asyncio.gather(*(work(line, name) for name in "abcd"))

    asyncio.run(all_of_them())
    assert done == list("abcd")
    assert told == {"b": [1], "c": [2, 1], "d": [3, 2, 1]}


def test_who_goes_away_while_waiting_is_passed_over():
    async def run():
        line, done = RequestQueue(limit=9), []

        async def work(name):
            async with line.turn():
                await asyncio.sleep(0.02)
                done.append(name)

        tasks = [asyncio.create_task(work(name)) for name in "abc"]
        await asyncio.sleep(0.005)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        return done

    assert asyncio.run(run()) == ["a", "c"]


def test_a_line_without_room_is_refused():
    with pytest.raises(ValueError, match="limit must be >= 1"):
        RequestQueue(limit=0)
