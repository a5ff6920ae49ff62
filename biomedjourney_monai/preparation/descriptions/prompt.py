"""The language-model writer's prompt: a versioned file in the package, and the reading of answers to it."""

from __future__ import annotations

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
    """What is said to the model.

    Args:
        version: its name; a changed wording gets a new one.
        system: the task.
        user: holds {prior} and {new}.
        rejected: what to say when the checker turns an answer down; holds {reasons}.
        schema: JSON schema of an answer.
        digest: of the file, so that provenance and cache notice an edit that kept the version.
    """

    version: str
    system: str
    user: str
    rejected: str
    schema: dict[str, Any]
    digest: str

    def write_messages(self, prior: str, new: str) -> list[dict[str, str]]:
        """Write the first messages about two texts."""
        question = self.user.replace("{prior}", "\0").replace("{new}", _fenced(new)).replace("\0", _fenced(prior))
        return [{"role": "system", "content": self.system}, {"role": "user", "content": question}]

    def write_rejection(self, messages: list[dict[str, str]], answer: str, reasons: Sequence[str]) -> list[dict]:
        """Add the rejected answer and why it was rejected."""
        request = self.rejected.replace("{reasons}", ", ".join(reasons))
        return [*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": request}]


def load_prompt(path: Path = PROMPT_FILE) -> Prompt:
    """Load a prompt file."""
    data = path.read_bytes()
    return Prompt(**json.loads(data), digest=hashlib.sha256(data).hexdigest()[:16])


def read_answer(content: str) -> str | None:
    """Read the description out of an answer; None where it is not JSON of the schema."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or set(answer) != {ANSWER_KEY} or not isinstance(answer[ANSWER_KEY], str):
        return None
    return " ".join(answer[ANSWER_KEY].split())


def _fenced(text: str) -> str:
    """A report cannot close the fence that it stands in."""
    return text.replace("<report>", " ").replace("</report>", " ").replace("\0", " ")
