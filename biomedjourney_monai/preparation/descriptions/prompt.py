"""The language model's prompt, a versioned file in the package, and the reading of its answers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
