"""The scenario ``policies``: requests routed, shared out, limited, broken off and repeated."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable

import trio
import yaml

from edgemesh.lab.demo.requests import Answer, ask, control, tally
from edgemesh.lab.demo.script import Outcome, Step
from edgemesh.lab.demo.stage import Stage, StepFailedError, require
from edgemesh.lab.state import Pod

_NODE = "edge-1"
_URL = "http://orders"
# As the manifests have it.
_BURST, _RATE = 10, 5
# More than the quota lets pass in the time that they take, also where that is some seconds.
_BEYOND_QUOTA = 100
_CONSECUTIVE_ERRORS = 3
_EJECTION_SECONDS = 4
_WEIGHT_OF_V2 = 0.2
# Five times the standard deviation of the share, at so many requests.
_WEIGHED_REQUESTS, _TOLERANCE = 1000, 0.063
_CLOSING_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 0.1
_REFUSED_WITHIN_SECONDS = 0.01
# Service, endpoint, state and for how long.
_BREAKER_COLUMNS = 4


async def request_by_request(stage: Stage) -> Outcome:
    """One connection, and yet every pod gets its share."""
    caller = stage.caller("client")
    answers = await ask(stage, caller, f"{_URL}/[1-30]")
    expected = "10 answers of each of 3 pods, over one connection"
    _require_even(stage, answers)
    connections = sum(one.new_connections for one in answers)
    require(connections == 1, f"expected {expected}, but {connections} connections")
    return Outcome(f"curl {_URL}/[1-30]", caller.description, tally(answers), expected=expected)


async def route_by_header(stage: Stage) -> Outcome:
    """A header decides about the version."""
    caller = stage.caller("client")
    marked = await ask(stage, caller, "-H", "x-version: v2", f"{_URL}/[1-10]")
    others = await ask(stage, caller, f"{_URL}/[1-10]")
    expected = "v2 with the header, v1 without it"
    versions = [{one.version for one in answers} for answers in (marked, others)]
    require(versions == [{"v2"}, {"v1"}], f"expected {expected}, but {versions}")
    return Outcome(
        f"curl -H 'x-version: v2' {_URL}/[1-10], and the same without it",
        caller.description,
        f"with it {tally(marked)}; without it {tally(others)}",
        expected=expected,
    )


async def weights(stage: Stage) -> Outcome:
    """A part of the requests goes to the new version."""
    caller = stage.caller("client")
    answers = await ask(stage, caller, f"{_URL}/[1-{_WEIGHED_REQUESTS}]")
    share = sum(one.version == "v2" for one in answers) / len(answers)
    expected = f"{_WEIGHT_OF_V2:.0%} from v2, give or take {_TOLERANCE:.1%}, and no failure"
    require({one.status for one in answers} == {200}, f"expected {expected}: {tally(answers)}")
    require(abs(share - _WEIGHT_OF_V2) <= _TOLERANCE, f"expected {expected}, but {share:.1%}")
    return Outcome(
        f"curl {_URL}/[1-{_WEIGHED_REQUESTS}]",
        caller.description,
        f"{share:.1%} from v2",
        expected=expected,
    )


async def quota(stage: Stage) -> Outcome:
    """More than the quota has is refused, with the time to come again."""
    caller = stage.caller("client")
    expected = (
        f"{_BURST} answers and {_RATE} more for each second that it takes; the rest refused with"
        " 429, and an answer again when retry-after is over"
    )
    refused, text = await _ask_beyond_quota(stage, f"expected {expected}")
    wait = refused[-1].retry_after
    require(wait.isdecimal() and 1 <= int(wait) <= 2, f"retry-after is {wait!r}")
    await trio.sleep(int(wait))
    (again,) = await ask(stage, caller, _URL)
    require(again.status == 200, f"after {wait} s: {tally([again])}")
    return Outcome(
        f"curl {_URL}/[1-{_BEYOND_QUOTA}], and curl {_URL} after that",
        caller.description,
        f"{text}, retry-after: {wait}; after {wait} s {tally([again])}",
        expected=expected,
    )


async def _ask_beyond_quota(stage: Stage, expected: str) -> tuple[list[Answer], str]:
    """The answers that were refused, and how long all took."""
    began = trio.current_time()
    answers = await ask(stage, stage.caller("client"), f"{_URL}/[1-{_BEYOND_QUOTA}]")
    seconds = trio.current_time() - began
    passed = [one for one in answers if one.status == 200]
    refused = [one for one in answers if one not in passed]
    most = _BURST + _RATE * seconds + 1
    right = {(one.status, one.reason) for one in refused} == {(429, "quota")}
    require(right and _BURST <= len(passed) <= most, f"{expected}, but {tally(answers)}")
    text = f"in {seconds:.2f} s {len(passed)} times 200, {len(refused)} times 429, quota"
    return refused, text


async def breaker_opens(stage: Stage) -> Outcome:
    """A pod that fails is taken out."""
    caller, pod = stage.caller("client"), _new_version(stage)
    told = await control(stage, pod, "?status=503")
    answers = await ask(stage, caller, f"{_URL}/[1-60]")
    expected = f"at most {_CONSECUTIVE_ERRORS} failures, and none after them"
    failed = [number for number, one in enumerate(answers, start=1) if one.status != 200]
    require(1 <= len(failed) <= _CONSECUTIVE_ERRORS, f"expected {expected}: {tally(answers)}")
    return Outcome(
        f"{told}; curl {_URL}/[1-60]",
        caller.description,
        f"{tally(answers)}; failed: {', '.join(f'/{number}' for number in failed)}."
        f" edgemesh get breakers: {await _breaker(stage, pod, 'open')}",
        expected=expected,
    )


async def breaker_closes(stage: Stage) -> Outcome:
    """When it is well again, it gets its share again."""
    caller, pod = stage.caller("client"), _new_version(stage)
    told = await control(stage, pod)
    began = trio.current_time()
    answers: list[Answer] = []
    with trio.move_on_after(_CLOSING_SECONDS):
        while pod.key.name not in {one.pod for one in answers}:
            answers += await ask(stage, caller, _URL)
            await trio.sleep(_ASK_AGAIN_SECONDS)
    seconds = trio.current_time() - began
    expected = f"no failure; it is asked again after {_EJECTION_SECONDS} s, and gets its third"
    require({one.status for one in answers} == {200}, f"expected {expected}: {tally(answers)}")
    require(answers[-1].pod == pod.key.name, f"not asked in {_CLOSING_SECONDS:g} s")
    shared = await ask(stage, caller, f"{_URL}/[1-30]")
    _require_even(stage, shared)
    return Outcome(
        f"{told}; curl {_URL} until it answers; curl {_URL}/[1-30]",
        caller.description,
        f"it answered after {seconds:.1f} s; then {tally(shared)}."
        f" edgemesh get breakers: {await _breaker(stage, pod, 'closed')}",
        expected=expected,
    )


async def all_are_down(stage: Stage) -> Outcome:
    """Nobody is left: the caller hears so at once."""
    caller = stage.caller("client")
    pods = _pods(stage)
    for pod in pods:
        await control(stage, pod, "?status=503")
    # Each of them has to fail so often that it is taken out. At once: it is for a time only.
    failing = 2 * len(pods) * _CONSECUTIVE_ERRORS
    answers = (await ask(stage, caller, f"{_URL}/[1-{failing + 20}]"))[failing:]
    for pod in pods:
        await control(stage, pod)
    milliseconds = statistics.median(one.seconds for one in answers) * 1000
    expected = f"503, breaker-open, within {_REFUSED_WITHIN_SECONDS * 1000:g} ms"
    told = {(one.status, one.reason) for one in answers}
    require(told == {(503, "breaker-open")}, f"expected {expected}, but {tally(answers)}")
    require(milliseconds < _REFUSED_WITHIN_SECONDS * 1000, f"{milliseconds:.1f} ms")
    return Outcome(
        "in every pod: curl -X PUT http://127.0.0.1:8080/control?status=503;"
        f" curl {_URL}/[1-{failing + 20}]",
        caller.description,
        f"the last 20: {tally(answers)}; {milliseconds:.2f} ms by median",
        expected=expected,
    )


async def retries(stage: Stage) -> Outcome:
    """What one pod fails to answer, another one is asked; but never what could do harm twice."""
    caller, failing = stage.caller("client"), _new_version(stage)
    told = await control(stage, failing, "?status=503")
    expected = "30 answers to GET, though that pod was asked too; no POST sent twice"
    before = await _requests_seen(stage)
    gets = await ask(stage, caller, f"{_URL}/[1-30]")
    after_gets = await _requests_seen(stage)
    posts = await ask(stage, caller, "-d", "order", f"{_URL}/[1-30]")
    after_posts = await _requests_seen(stage)
    await control(stage, failing)
    require({one.status for one in gets} == {200}, f"expected {expected}: GET {tally(gets)}")
    tries = after_gets[failing.key.name] - before[failing.key.name]
    require(tries > 0, f"expected {expected}, but it was never asked")
    sent = after_posts.total() - after_gets.total()
    require(sent == len(posts), f"expected {expected}, but {len(posts)} were sent {sent} times")
    return Outcome(
        f"{told}; curl {_URL}/[1-30]; curl -d order {_URL}/[1-30]",
        caller.description,
        f"GET: {tally(gets)}, after {tries} failures of {failing.key.name} that nobody saw."
        f" POST: {tally(posts)}; sent {sent} times",
        expected=expected,
    )


async def wrong_field(stage: Stage) -> Outcome:
    """A mistake is told where it was made, and the rest of the object is in force."""
    expected = "consecutiveErrors is reported; the quota beside it is in force"
    command = ["edgemesh", "get", "trafficpolicy", "orders", "-o", "yaml"]
    shown = await stage.run(stage.caller(_NODE), command)
    conditions = (yaml.safe_load(shown).get("status") or {}).get("conditions") or []
    told = [f"{one['type']} {one['status']}: {one['message']}" for one in conditions]
    named = [line for line in told if "consecutiveErrors" in line]
    require(bool(named), f"expected {expected}, but the conditions are {told}")
    _, text = await _ask_beyond_quota(stage, f"expected {expected}")
    return Outcome(
        f"{' '.join(command)}; curl {_URL}/[1-{_BEYOND_QUOTA}]",
        stage.caller(_NODE).description,
        f"{named[0]}; {text}",
        expected=expected,
    )


async def counted(stage: Stage) -> Outcome:
    """All of it is in the metrics."""
    caller = stage.caller(_NODE)
    url = "http://127.0.0.1:15020/metrics"
    lines = (await stage.run(caller, ["curl", "-sS", url])).splitlines()
    expected = "refusals by reason, ejections and retries of what went before"
    found = []
    for name, label in (
        ("edgemesh_refusals_total", 'reason="quota"'),
        ("edgemesh_refusals_total", 'reason="breaker-open"'),
        ("edgemesh_ejections_total", ""),
        ("edgemesh_retries_total", ""),
    ):
        values = [
            float(line.split()[-1])
            for line in lines
            if line.startswith(name + "{") and label in line
        ]
        require(sum(values) > 0, f"expected {expected}, but no {name} {label}")
        found.append(f"{name}{f'{{{label}}}' if label else ''} {sum(values):g}")
    return Outcome(f"curl {url}", caller.description, "; ".join(found), expected=expected)


STEPS = (
    Step("Request by request", ("client", "orders"), request_by_request),
    Step("A route by header", ("orders-by-header",), route_by_header),
    Step("Weights", ("orders-by-weight",), weights),
    Step("A quota", ("orders-quota",), quota, without=("orders-by-weight",)),
    Step("A breaker opens", ("orders-breaker",), breaker_opens),
    Step("It closes again", (), breaker_closes),
    Step("Every pod is down", (), all_are_down),
    Step("A retry", ("orders-retries",), retries),
    Step("A policy with a mistake", ("orders-wrong",), wrong_field),
    Step("What was counted", (), counted),
)


def _pods(stage: Stage) -> list[Pod]:
    return [*stage.pods_of("orders-v1").values(), *stage.pods_of("orders-v2").values()]


def _new_version(stage: Stage) -> Pod:
    (pod,) = stage.pods_of("orders-v2").values()
    return pod


def _require_even(stage: Stage, answers: Iterable[Answer]) -> None:
    shares = Counter((one.status, one.pod) for one in answers)
    each = shares.total() // len(_pods(stage))
    wanted = {(200, pod.key.name): each for pod in _pods(stage)}
    require(shares == wanted, f"expected {each} answers of each pod: {tally(answers)}")


async def _requests_seen(stage: Stage) -> Counter[str]:
    """How many requests each pod has got."""
    seen: Counter[str] = Counter()
    for pod in _pods(stage):
        asked = ["curl", "-sS", "http://127.0.0.1:8080/control"]
        seen[pod.key.name] = json.loads(await stage.run(stage.caller(pod.key.name), asked))[
            "requests"
        ]
    return seen


async def _breaker(stage: Stage, pod: Pod, state: str) -> str:
    """The line of a pod's breaker, as the command shows it.

    Raises:
        StepFailedError: it is in another state, or not shown.
    """
    shown = await stage.run(stage.caller(_NODE), ["edgemesh", "get", "breakers"])
    for line in shown.splitlines():
        words = line.split()
        if any(address in line for address in pod.addresses) and state in words:
            return " ".join(words[:_BREAKER_COLUMNS])
    raise StepFailedError(f"edgemesh get breakers shows nobody at {pod.addresses[0]} {state}")
