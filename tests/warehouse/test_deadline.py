"""Time limits that one thread watches."""

import threading

from ktx.warehouse.deadline import deadline

SOON_S = 0.02
LATE_S = 60.0


def test_a_statement_is_interrupted_when_its_time_is_over() -> None:
    interrupted = threading.Event()
    with deadline(SOON_S, interrupted.set) as limit:
        assert interrupted.wait(LATE_S)
    assert limit.is_over


def test_a_shorter_limit_is_met_while_a_longer_one_waits() -> None:
    long, short = threading.Event(), threading.Event()
    with deadline(LATE_S, long.set) as outer, deadline(SOON_S, short.set) as inner:
        assert short.wait(LATE_S)
    assert inner.is_over
    assert not outer.is_over
    assert not long.is_set()


def test_nothing_is_interrupted_after_the_end_and_an_interrupt_under_way_is_waited_for() -> None:
    begun, may_end = threading.Event(), threading.Event()
    ended: list[bool] = []

    def interrupt() -> None:
        begun.set()
        ended.append(may_end.wait(LATE_S))

    with deadline(SOON_S, interrupt):
        assert begun.wait(LATE_S)
        may_end.set()
    assert ended == [True]
    first, later = threading.Event(), threading.Event()
    with deadline(0.5, first.set):
        pass
    with deadline(0.6, later.set):
        assert later.wait(LATE_S)
    assert not first.is_set()
