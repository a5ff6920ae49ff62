"""Ask a language model: the prompt, where it may run, bounded retries, a cache, failures as reasons, never as text."""

import hashlib
import ipaddress
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from biomedjourney_monai.errors import ConfigError, SettingError, TableError
from biomedjourney_monai.files import make_folder, make_private_file

PROMPT_FILE = Path(__file__).parent / "prompts" / "progression-1.prompt.json"
ANSWER_KEY = "progression_description"


@dataclass(frozen=True)
class Prompt:
    """The texts for the model.

    Args:
        version: its name; changed wording gets a new version.
        system: the task.
        user: the question, with {prior} and {new} in it.
        rejected: the request after a rejected answer, with {reasons} in it.
        schema: JSON schema of an answer.
        digest: of the file, so that provenance and cache notice an edit without a new version.
    """

    version: str
    system: str
    user: str
    rejected: str
    schema: dict[str, Any]
    digest: str

    def write_messages(self, prior: str, new: str) -> list[dict[str, str]]:
        """Write the first messages for two reports."""
        question = self.user.replace("{prior}", "\0").replace("{new}", _fenced(new)).replace("\0", _fenced(prior))
        return [{"role": "system", "content": self.system}, {"role": "user", "content": question}]

    def write_rejection(
        self, messages: list[dict[str, str]], answer: str, reasons: Sequence[str]
    ) -> list[dict[str, str]]:
        """Add the rejected answer and the reasons."""
        request = self.rejected.replace("{reasons}", ", ".join(reasons))
        return [*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": request}]


def load_prompt() -> Prompt:
    """Load `PROMPT_FILE`."""
    data = PROMPT_FILE.read_bytes()
    return Prompt(**json.loads(data), digest=hashlib.sha256(data).hexdigest()[:16])


def read_answer(content: str) -> str | None:
    """Read the description from an answer; None if it is not JSON of the schema."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or set(answer) != {ANSWER_KEY} or not isinstance(answer[ANSWER_KEY], str):
        return None
    return " ".join(answer[ANSWER_KEY].split())


def _fenced(text: str) -> str:
    """Keep a report from closing its own fence."""
    return text.replace("<report>", " ").replace("</report>", " ").replace("\0", " ")


class AnswerCache:
    """Answers by prompt, model and text. Safe for threads; each answer is on disk when `put` returns, so that a killed
    run resumes. Only digests of questions are stored, but answers are patient data: only the owner can read the file.

    Args:
        path: the file, created if missing; or ":memory:".

    Raises:
        TableError: if the file is not such a cache.
    """

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.Lock()
        try:
            if str(path) != ":memory:":
                make_folder(Path(path).parent)
                make_private_file(path)
            self._database = sqlite3.connect(path, check_same_thread=False, timeout=30)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID"
            )
            self._database.execute("SELECT key, content FROM answers LIMIT 1")
        except sqlite3.Error as error:
            raise TableError(
                "the cache of answers must be a SQLite file of this program",
                found=type(error).__name__,
                action="Move the file away, or name another with --cache",
            ) from error

    def get(self, key: str) -> str | None:
        """Return the answer to a question, or None."""
        with self._lock:
            row = self._database.execute("SELECT content FROM answers WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def put(self, key: str, content: str) -> None:
        """Store an answer."""
        with self._lock, self._database:
            self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, content))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()


def question_key(messages: list[dict[str, str]], *, model: str, prompt_version: str, prompt_digest: str) -> str:
    """Digest of everything that determines an answer: prompt version and file, model, and text."""
    content = json.dumps([prompt_version, prompt_digest, model, messages], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


ATTESTATION = (
    "The user attested that this service retains nothing that is sent to it, trains on none of it, and shows none of "
    "it to people."
)
"""The meaning of `--attest-zero-retention`: PhysioNet's conditions for third-party language models."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible service.

    Args:
        base_url: for example http://127.0.0.1:8000/v1.
        is_loopback: whether text stays on this machine.
        attested: whether the user attested to zero retention.
    """

    base_url: str
    is_loopback: bool
    attested: bool

    def provenance(self) -> dict[str, Any]:
        """The service's entry in a run's provenance."""
        host = urlsplit(self.base_url).hostname
        return {"host": host, "is_loopback": self.is_loopback, "attestation": ATTESTATION if self.attested else None}


def open_endpoint(base_url: str, *, attested: bool = False) -> Endpoint:
    """Check an address.

    Raises:
        ConfigError: if it is not an http(s) address, contains a password, is not loopback without an attestation, or
            would send text unencrypted over the network.
    """
    try:
        parts = urlsplit(base_url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("--base-url must be an http or https address", action="Try http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ConfigError("--base-url must not contain a user or password", action="Put the key into the environment")
    loopback = is_loopback(host)
    if not loopback and not attested:
        raise ConfigError(
            "reports may only be sent to a language model on this machine",
            found="a host that is not loopback",
            action="Serve the model at 127.0.0.1, or, if the service retains nothing, trains on nothing and shows "
            "nothing to people, attest it with --attest-zero-retention",
        )
    if not loopback and parts.scheme != "https":
        raise ConfigError("a host that is not loopback must use https", found=parts.scheme)
    return Endpoint(base_url, loopback, attested and not loopback)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its address. Of names only "localhost" counts: others can point anywhere."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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

    def open(self, default_cache: str | Path, *, asks: bool = True) -> "LanguageModel":
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
