"""Ask a language model through the openai client: bounded retries, and failures as reasons, never as text."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from biomedjourney_monai.errors import ConfigError, SettingError
from biomedjourney_monai.preparation.descriptions.answer_cache import AnswerCache, question_key
from biomedjourney_monai.preparation.descriptions.endpoint import Endpoint, open_endpoint
from biomedjourney_monai.preparation.descriptions.prompt import Prompt, load_prompt

GIVE_UP_AFTER = 20
"""Failures in a row, each after its retries, after which a dead service is not asked again in this run."""

MAX_ANSWER_TOKENS = 400


class AnswerError(Exception):
    """No answer, for the reason given, which contains no patient text."""


@dataclass
class Usage:
    """The requests of a run that the service answered, and tokens as the service counts them."""

    answers: int = 0
    from_cache: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class LanguageModelSettings:
    """An OpenAI-compatible service, and how to ask it.

    Args:
        model: the model's name there.
        base_url: of the service; on this machine unless zero retention is attested.
        key_variable: environment variable with the key.
        attest_zero_retention: allow another host: the user attests that it retains nothing, trains on nothing and
            shows nothing to people, and the provenance records it.
        concurrency: requests at once.
        retries: after status 429 and 5xx, and time-outs.
        timeout: of one request, in seconds.
        cache: file of answers; None takes descriptions.sqlite in the working folder.

    Raises:
        SettingError: naming the setting and its range.
    """

    model: str | None
    base_url: str = "http://127.0.0.1:8000/v1"
    key_variable: str = "OPENAI_API_KEY"
    attest_zero_retention: bool = False
    concurrency: int = 4
    retries: int = 5
    timeout: float = 60.0
    cache: str | Path | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise SettingError("concurrency", "must be >= 1", found=str(self.concurrency))
        if self.retries < 0:
            raise SettingError("retries", "must be >= 0", found=str(self.retries))
        if not self.timeout > 0:
            raise SettingError("timeout", "must be > 0 seconds", found=str(self.timeout))

    def check(self, *, asks: bool = True) -> Endpoint:
        """Check the address and the key, which an estimate (asks=False) does not need.

        Raises:
            ConfigError: if the model is not named, the address is not allowed, or a remote service has no key.
        """
        if not self.model:
            raise ConfigError("--writer language-model needs --model", action="Name a model that the service has")
        endpoint = open_endpoint(self.base_url, attested=self.attest_zero_retention)
        if asks and not endpoint.is_loopback and not os.environ.get(self.key_variable):
            raise ConfigError("a remote service needs a key", found="none", action=f"Set {self.key_variable}")
        return endpoint

    def open(self, default_cache: str | Path, *, asks: bool = True) -> LanguageModel:
        """Open the model with its cache of answers; an estimate (asks=False) creates no file. Errors as for `check`."""
        endpoint = self.check(asks=asks)
        cache = self.cache or default_cache
        return LanguageModel(
            endpoint,
            model=str(self.model),
            prompt=load_prompt(),
            cache=AnswerCache(cache if asks or Path(cache).exists() else ":memory:"),
            api_key=os.environ.get(self.key_variable, ""),
            retries=self.retries,
            timeout_s=self.timeout,
        )


class LanguageModel:
    """A model behind an endpoint, with a cache. Safe for threads.

    Args:
        endpoint: a checked address.
        model: its name there.
        prompt: sets the schema of answers and, with model and text, the cache's keys.
        cache: of answers.
        api_key: from the environment; a local server usually needs none.
        retries: after 429, 5xx, time-outs and broken connections, with exponential backoff or the delay that the
            service asks for.
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
        import openai  # takes two seconds: imported only if a language model writes

        logging.getLogger("openai").setLevel(logging.WARNING)  # OPENAI_LOG=debug would log the reports
        self.endpoint, self.model, self.prompt, self.usage = endpoint, model, prompt, Usage()
        self._cache, self._openai, self._lock = cache, openai, threading.Lock()
        self._failures_in_a_row = 0
        # A redirect would send reports elsewhere, and a proxy from the environment would read them.
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
        """Return the content of the answer, from the cache or the service; an AnswerError if there is none."""
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
        except ValueError:  # a body that is not JSON, with status 200
            raise AnswerError("response not JSON") from None
        self._failures_in_a_row = 0
        content = _content(completion)
        self._count(completion)
        self._cache.put(key, content)
        return content

    def _request_twice(self, messages: list[dict[str, str]]) -> Any:
        try:
            return self._request(messages)
        except ValueError:  # a truncated body: the client retries only bad statuses
            return self._request(messages)

    def _request(self, messages: list[dict[str, str]]) -> Any:
        schema = {"name": "description", "strict": True, "schema": self.prompt.schema}
        form = {"type": "json_schema", "json_schema": schema}
        request: dict[str, Any] = {"model": self.model, "messages": messages, "response_format": form}
        return self._client.chat.completions.create(**request, temperature=0, max_tokens=MAX_ANSWER_TOKENS)

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


def _reason(openai: ModuleType, error: Exception) -> str:
    if isinstance(error, openai.APIStatusError):
        return f"status {error.status_code}"
    if isinstance(error, openai.APITimeoutError):
        return "time-out"
    if isinstance(error, openai.APIConnectionError):
        return "no connection"
    return "response not understood"
