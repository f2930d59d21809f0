# SPDX-License-Identifier: EUPL-1.2
"""The routes of the OpenID Authorization API 1.0 (AuthZEN): evaluation, evaluations, and what says where they are.

Bodies are read by hand: the specification answers 400 to whatever is malformed, and passes over what it does not know.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardservice.access.explain.api import ExplainedAnswer, described
from cardservice.access.explain.sentences import Writer
from cardservice.access.snapshot import Snapshot
from cardservice.authzen.rules import (
    LEVELS,
    MAX_EVALUATIONS,
    POINT_TYPE,
    Evaluation,
    Malformed,
    batch_of,
    evaluation_of,
    parse,
)
from cardservice.authzen.service import Detailed, Evaluations, Evaluator, Verdict, needs_the_store
from cardservice.web.gate import Actor, Gate
from cardservice.web.problems import ApiProblem, documented

EVALUATION: Final = "/access/v1/evaluation"
EVALUATIONS: Final = "/access/v1/evaluations"
METADATA: Final = "/.well-known/authzen-configuration"
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_REQUEST_ID_HEADER: Final = b"x-request-id"
# An arbitrary string, as far as a header can hold one (RFC 9110, section 5.5); longer ones are nobody's name.
_REQUEST_ID: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]{1,1024}")
_OURS: Final = "/access/v1/"
_PROBLEMS: Final = documented(400, 401, 403, 413, 503)


class BothLanguages(BaseModel):
    """One sentence in German and in English."""

    de: str
    en: str


class ItemError(BaseModel):
    """Why one evaluation of several could not be made; the others were."""

    status: int
    message: str


class DecisionContext(BaseModel):
    """Why: `id` is for programs, and one of a closed list; `reason_user` tells the person, `reason_admin` more.

    `live_check`: before a permit a tap at this point asks the directory itself, which an evaluation does not.
    """

    id: str = Field(examples=["outside_schedule"])
    reason_user: BothLanguages | None = None
    reason_admin: BothLanguages | None = None
    error: ItemError | None = None
    live_check: bool | None = None
    explanation: ExplainedAnswer | None = None


class DecisionAnswer(BaseModel):
    """One answer (section 5.5)."""

    decision: bool
    context: DecisionContext


class EvaluationsAnswer(BaseModel):
    """The answers in the order of the questions; fewer where one of them ended it."""

    evaluations: list[DecisionAnswer]


class Metadata(BaseModel):
    """Where the routes are (section 9)."""

    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str


class AuthZen:
    """What the routes use; put together once. `snapshot` returns the live one."""

    def __init__(
        self, evaluator: Evaluator, detailed: Detailed, kept: Evaluations, snapshot: Callable[[], Snapshot]
    ) -> None:
        self._evaluator, self._detailed, self._kept, self._snapshot = evaluator, detailed, kept, snapshot

    async def one(self, question: Evaluation, caller: Actor) -> DecisionAnswer:
        """Answer one question, once its line is on disk.

        Raises:
            ApiProblem: 403, the point is not the caller's.
        """
        if question.resource.type == POINT_TYPE:
            caller.require_point(question.resource.id)
        verdict = await self._verdict(question)
        await self._kept.keep(caller, [verdict])
        return _told(verdict)

    async def many(self, raw: dict[str, Any], caller: Actor) -> DecisionAnswer | EvaluationsAnswer:
        """Answer all questions of a request, once their lines are on disk.

        Raises:
            Malformed: the request as a whole.
            ApiProblem: 403, it asks one question, and that about a foreign point.
        """
        batch = batch_of(raw)
        if batch is None:
            return await self.one(evaluation_of(raw), caller)
        verdicts: list[Verdict] = []
        answers: list[DecisionAnswer] = []
        for question in batch.evaluations:
            answer = _unanswerable(question, caller)
            if answer is None and not isinstance(question, Malformed):
                verdicts.append(await self._verdict(question))
                answer = _told(verdicts[-1])
            if answer is not None:
                answers.append(answer)
                if batch.semantic.ends_with(permit=answer.decision):
                    break
        await self._kept.keep(caller, verdicts)
        return EvaluationsAnswer(evaluations=answers)

    async def _verdict(self, question: Evaluation) -> Verdict:
        await self._evaluator.ready()
        verdict = self._evaluator.evaluate(question)
        if needs_the_store(question, verdict, self._snapshot()):
            return await self._detailed.answer(question, verdict)
        return verdict


def authzen_router(authzen: AuthZen, gate: Gate, *, behind_tls_proxy: bool) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["authzen"])
    asker = Annotated[Actor, Depends(gate.allows("authzen.evaluate"))]

    @router.post(
        EVALUATION,
        summary="May somebody do something somewhere",
        responses=_PROBLEMS,
        response_model_exclude_none=True,
        openapi_extra=_body(_QUESTION),
    )
    async def evaluation(request: Request, caller: asker) -> DecisionAnswer:
        document = await _document(request)
        with _refusing():
            question = evaluation_of(document)
        return await authzen.one(question, caller)

    @router.post(
        EVALUATIONS,
        summary="Several of these questions at once",
        responses=_PROBLEMS,
        response_model_exclude_none=True,
        openapi_extra=_body(_QUESTIONS),
    )
    async def evaluations(request: Request, caller: asker) -> DecisionAnswer | EvaluationsAnswer:
        document = await _document(request)
        with _refusing():
            return await authzen.many(document, caller)

    @router.get(METADATA, summary="Where the routes of AuthZEN are", responses=documented(400))
    async def metadata(request: Request, response: Response) -> Metadata:
        base = _base(request, behind_tls_proxy=behind_tls_proxy)
        # It names whatever host was asked for: nobody else's answer.
        response.headers["Cache-Control"] = "no-store"
        return Metadata(
            policy_decision_point=base,
            access_evaluation_endpoint=base + EVALUATION,
            access_evaluations_endpoint=base + EVALUATIONS,
        )

    return router


class EchoRequestId:
    """ASGI middleware: the caller's own X-Request-ID comes back as it was (section 10.1.3), whatever we call it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its answer carries the identifier it came with."""
        given = _request_id(scope)
        if given is None:
            await self._app(scope, receive, send)
            return

        async def echoing(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [one for one in message.get("headers", ()) if one[0].lower() != _REQUEST_ID_HEADER]
                message["headers"] = [*others, (_REQUEST_ID_HEADER, given)]
            await send(message)

        await self._app(scope, receive, echoing)


def _request_id(scope: Scope) -> bytes | None:
    if scope["type"] != "http" or not (scope["path"].startswith(_OURS) or scope["path"] == METADATA):
        return None
    given: bytes = next((value for name, value in scope["headers"] if name == _REQUEST_ID_HEADER), b"")
    return given if _REQUEST_ID.fullmatch(given) else None


@contextmanager
def _refusing() -> Iterator[None]:
    """Answer what is malformed with 400."""
    try:
        yield
    except Malformed as error:
        raise ApiProblem(400, "bad_request", str(error)) from None


async def _document(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiProblem(400, "bad_request", "Content-Type: allowed is application/json")
    with _refusing():
        return parse(await request.body())


def _unanswerable(question: Evaluation | Malformed, caller: Actor) -> DecisionAnswer | None:
    """Return the answer to one question of several that cannot be evaluated (section 7.2.1), None if it can."""
    if isinstance(question, Malformed):
        return _error(400, "bad_request", str(question))
    if question.resource.type == POINT_TYPE and not caller.may_use(question.resource.id):
        return _error(403, "foreign_point", "this point is not yours")
    return None


def _error(status: int, code: str, message: str) -> DecisionAnswer:
    context = DecisionContext(id=code, error=ItemError(status=status, message=message))
    return DecisionAnswer(decision=False, context=context)


def _told(verdict: Verdict) -> DecisionAnswer:
    words = verdict.sentences
    explanation = None
    if verdict.steps is not None:
        explanation = described(verdict.steps, Writer("de", verdict.time_zone))
    context = DecisionContext(
        id=verdict.code.value,
        reason_user=BothLanguages(de=words.holder_de, en=words.holder_en),
        reason_admin=BothLanguages(de=words.admin_de, en=words.admin_en),
        live_check=verdict.live_check or None,
        explanation=explanation,
    )
    return DecisionAnswer(decision=verdict.permit, context=context)


def _base(request: Request, *, behind_tls_proxy: bool) -> str:
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise ApiProblem(400, "bad_request", "Host: not a name or an address")
    return f"{'https' if behind_tls_proxy else request.url.scheme}://{host}"


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _entity(*types: str) -> dict[str, Any]:
    named = {"type": {"type": "string", "examples": list(types)}, "id": {"type": "string", "maxLength": 256}}
    return {"type": "object", "properties": {**named, "properties": {"type": "object"}}, "required": ["type", "id"]}


def _schema(required: Sequence[str], **more: Any) -> dict[str, Any]:
    action = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    context = {
        "type": "object",
        "properties": {
            "time": {"type": "string", "format": "date-time"},
            "level": {"enum": list(LEVELS)},
            "explain": {"type": "boolean"},
        },
    }
    entities = {"subject": _entity("person", "card"), "action": action, "resource": _entity("point")}
    return {"type": "object", "properties": {**entities, "context": context, **more}, "required": list(required)}


_QUESTION: Final = _schema(("subject", "action", "resource"))
_QUESTIONS: Final = _schema(
    (),
    evaluations={"type": "array", "maxItems": MAX_EVALUATIONS, "items": _schema(())},
    options={
        "type": "object",
        "properties": {
            "evaluations_semantic": {"enum": ["execute_all", "deny_on_first_deny", "permit_on_first_permit"]}
        },
    },
)
