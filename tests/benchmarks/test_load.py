"""The load generator believes nothing: whole answers, to the right request, with the right content."""

from __future__ import annotations

import pytest

from benchmarks.gateway.echo import STEPS
from benchmarks.gateway.generator import Failed, Generator
from benchmarks.gateway.load import Job
from benchmarks.gateway.target import http
from benchmarks.gateway.traffic import Client, calling, progressing
from benchmarks.gateway.wire import Parser, Response, WrongAnswer, reply

ANSWER = b'{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"hello"}]}}'


def responses(data: bytes) -> list[Response]:
    parser = Parser()
    found = (parser.feed(data[place : place + 1]) for place in range(len(data)))
    return [each for each in found if each is not None]


def test_an_answer_is_found_however_it_is_cut() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
    assert [reply(each, 7).content[0].text for each in responses(whole * 2)] == ["hello", "hello"]


def test_the_last_event_of_a_stream_is_the_answer() -> None:
    event = b'data: {"jsonrpc":"2.0","method":"x"}\r\n\r\nevent: message\r\ndata: %b\r\n\r\n' % ANSWER
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (event[:20], event[20:]))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    (found,) = responses(head + chunks + b"0\r\n\r\n")
    assert reply(found, 7).content[0].text == "hello"


@pytest.mark.parametrize(
    "response",
    [
        Response(503, {}, ANSWER),
        Response(200, {}, ANSWER.replace(b"7", b"8")),
        Response(200, {}, b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"}}'),
        Response(200, {}, ANSWER.replace(b"}]", b'}],"isError":true')),
        Response(200, {}, b"<html>"),
    ],
)
def test_any_other_answer_is_refused(response: Response) -> None:
    with pytest.raises(WrongAnswer):
        reply(response, 7)


@pytest.mark.parametrize("client", ["modern", "legacy"])
def test_clients_of_both_eras_are_measured(client: Client) -> None:
    with http() as url, Generator() as generator:
        figures = generator.round(Job(calling(url, client, "echo"), connections=4, calls=200))
    assert 0 < figures.p50 <= figures.p95 <= figures.p99
    assert figures.rate > 0


@pytest.mark.parametrize("wanted", [10, 11])
def test_progress_is_counted(wanted: int) -> None:
    with http() as url, Generator() as generator:
        job = Job(progressing(url, "modern", "steps", wanted), connections=2, calls=20)
        if wanted == STEPS:
            assert generator.round(job).rate > 0
            return
        with pytest.raises(Failed, match="10 progress notifications instead of 11"):
            generator.round(job)


def test_a_target_of_the_other_era_is_no_measurement() -> None:
    with http("modern") as url, Generator() as generator, pytest.raises(Failed, match="no such method"):
        generator.round(Job(calling(url, "legacy", "echo"), connections=1, calls=10))
