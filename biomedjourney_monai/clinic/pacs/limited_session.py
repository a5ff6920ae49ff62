"""A session whose answers are read within limits on size and time: an archive is data, possibly hostile."""

import time
from typing import Any

import requests

MAX_ANSWER_BYTES = 256 * 1024**2
"""Of one answer, unpacked. A chest radiograph has up to 35 MB, the headers of a series less."""

ANSWER_SECONDS = 300.0
CHUNK = 1 << 16


class AnswerTooLarge(requests.exceptions.RequestException):
    """An answer beyond the limit."""


class LimitedSession(requests.Session):
    """Reads every answer whole, piece by piece, and gives up at the limits."""

    def send(self, request: requests.PreparedRequest, **keywords: Any) -> requests.Response:
        """Send a request, and read its answer.

        Raises:
            AnswerTooLarge: for an answer with more than `MAX_ANSWER_BYTES`.
            requests.exceptions.Timeout: for one that takes longer than `ANSWER_SECONDS`.
        """
        response = super().send(request, **{**keywords, "stream": True})
        ends, parts, count = time.monotonic() + ANSWER_SECONDS, [], 0
        for part in response.iter_content(CHUNK):
            parts.append(part)
            count += len(part)
            if count > MAX_ANSWER_BYTES or time.monotonic() > ends:
                response.close()
                if count > MAX_ANSWER_BYTES:
                    raise AnswerTooLarge("an answer is too large")
                raise requests.exceptions.Timeout("an answer takes too long")
        response._content = b"".join(parts)
        return response
