"""A cache of a language model's answers in one SQLite file, so that no question is asked twice."""

import hashlib
import json
import sqlite3
import threading
from pathlib import Path

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import make_folder, make_private_file


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
