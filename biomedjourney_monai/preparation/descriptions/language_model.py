"""Asking a language model through the openai client: bounded retries, and failures as reasons, never as text."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

from biomedjourney_monai.preparation.descriptions.answer_cache import AnswerCache, question_key
from biomedjourney_monai.preparation.descriptions.endpoint import Endpoint
from biomedjourney_monai.preparation.descriptions.prompt import Prompt

GIVE_UP_AFTER = 20
"""Failures in a row, each after its retries, behind which a dead service is asked no more in this run."""

MAX_ANSWER_TOKENS = 400


class AnswerError(Exception):
    """No answer, for the reason given; the reason holds no text of a patient."""


@dataclass
class Usage:
    """What a run has asked: requests that reached the service's model, and tokens as the service counts them."""

    answers: int = 0
    from_cache: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class LanguageModel:
    """A model behind an endpoint, with a cache. Safe for threads.

    Args:
        endpoint: a checked address.
        model: its name there.
        prompt: decides the schema of answers and, with model and text, the cache's keys.
        cache: of answers.
        api_key: from the environment; a local server usually wants none.
        retries: after 429, 5xx, time-outs and broken connections, with exponential backoff or as long as the service
            asks for.
        timeout_s: for one request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        model: str,
        prompt: Prompt,
        cache: AnswerCache,
        api_key: str = "",
        retries: int = 5,
        timeout_s: float = 60.0,
    ) -> None:
        import openai  # two seconds: only when a language model writes

        logging.getLogger("openai").setLevel(logging.WARNING)  # OPENAI_LOG=debug would log the reports
        self.endpoint, self.model, self.prompt, self.usage = endpoint, model, prompt, Usage()
        self._cache, self._openai, self._lock = cache, openai, threading.Lock()
        self._failures_in_a_row = 0
        # A redirect would carry reports elsewhere, and a proxy from the environment would read them.
        http = openai.DefaultHttpxClient(follow_redirects=False, trust_env=not endpoint.is_loopback, timeout=timeout_s)
        self._client = openai.OpenAI(
            base_url=endpoint.base_url,
            api_key=api_key or "none",
            max_retries=retries,
            timeout=timeout_s,
            http_client=http,
        )

    def has_answer(self, messages: list[dict[str, str]]) -> bool:
        """Whether the cache knows the answer."""
        return self._cache.get(self._key(messages)) is not None

    def ask(self, messages: list[dict[str, str]]) -> str:
        """Return the content of the answer, from the cache or the service.

        Raises:
            AnswerError: if there is none after all retries.
        """
        key = self._key(messages)
        content = self._cache.get(key)
        if content is not None:
            with self._lock:
                self.usage.from_cache += 1
            return content
        if self._failures_in_a_row >= GIVE_UP_AFTER:
            raise AnswerError("service given up")
        try:
            completion = self._request_twice(messages)
        except self._openai.OpenAIError as error:
            self._failures_in_a_row += 1
            raise AnswerError(_reason(self._openai, error)) from None  # the cause's text may quote a report
        except ValueError:  # a body that is not JSON, in spite of status 200
            raise AnswerError("response not JSON") from None
        self._failures_in_a_row = 0
        content = _content(completion)
        self._count(completion)
        self._cache.put(key, content)
        return content

    def _request_twice(self, messages: list[dict[str, str]]) -> Any:
        try:
            return self._request(messages)
        except ValueError:  # a body cut short: the client retries what has a bad status, not this
            return self._request(messages)

    def _request(self, messages: list[dict[str, str]]) -> Any:
        schema = {"name": "description", "strict": True, "schema": self.prompt.schema}
        return self._client.chat.completions.create(
            model=self.model,
            messages=messages,
            temperature=0,
            max_tokens=MAX_ANSWER_TOKENS,
            response_format={"type": "json_schema", "json_schema": schema},
        )

    def _key(self, messages: list[dict[str, str]]) -> str:
        return question_key(
            messages, model=self.model, prompt_version=self.prompt.version, prompt_digest=self.prompt.digest
        )

    def _count(self, completion: Any) -> None:
        usage = getattr(completion, "usage", None)
        with self._lock:
            self.usage.answers += 1
            self.usage.input_tokens += getattr(usage, "prompt_tokens", 0) or 0
            self.usage.output_tokens += getattr(usage, "completion_tokens", 0) or 0


def _content(completion: Any) -> str:
    try:
        content = completion.choices[0].message.content
    except (AttributeError, IndexError, TypeError):
        raise AnswerError("response without an answer") from None
    return content if isinstance(content, str) else ""


def _reason(openai: Any, error: Exception) -> str:
    if isinstance(error, openai.APIStatusError):
        return f"status {error.status_code}"
    if isinstance(error, openai.APITimeoutError):
        return "time-out"
    if isinstance(error, openai.APIConnectionError):
        return "no connection"
    return "response not understood"
