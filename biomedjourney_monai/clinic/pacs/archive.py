"""A DICOMweb archive: query (QIDO), retrieve (WADO), store (STOW), and an explanation of each failure.

DICOMweb URLs contain identifiers, so neither the client's log lines nor its errors are shown. Redirects are not
followed, and the machine's proxies, .netrc and certificate variables are ignored, so that images and credentials go to
the named archive only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.radiographs.read.dicom_header import as_image_error
from biomedjourney_monai.radiographs.read.quiet import silence_dicom_libraries, silence_loggers

if TYPE_CHECKING:
    import pydicom
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


TIMEOUT_SECONDS = 60
ATTEMPTS = 3
WAITS_FOR_A_STORE = (0, 0.2, 1, 3)
"""Seconds before each query for a stored instance: some archives list it with a delay."""

STUDY_FIELDS: tuple[str, ...] = ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "PatientID")
STUDY_FIELDS += ("IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")

_ONE_CHUNK = 1 << 30
"""Bytes below which a store is sent in one piece: the client cannot repeat a store that it sent in chunks."""

_LOGGERS: tuple[str, ...] = ("dicomweb_client", "dicomweb_client.web", "dicomweb_client.session_utils", "requests")
_LOGGERS += ("urllib3", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry")


class ArchiveError(BiomedJourneyError):
    """The archive failed or refused a request.

    Args:
        reason: a short code by which a work list counts it.
        ends_the_run: whether all further requests would fail in the same way.
    """

    def __init__(
        self, rule: str, *, found: str = "", action: str = "", reason: str, ends_the_run: bool = False
    ) -> None:
        super().__init__(rule, found=found, action=action)
        self.reason, self.ends_the_run = reason, ends_the_run


class Archive:
    """One archive.

    Args:
        url: of its DICOMweb service, http or https.
        user: for basic authentication, with `password`.
        token: a bearer token, instead of a user.
        ca_file: certificates (PEM) to trust instead of the usual ones.
        timeout: seconds without an answer after which a connection counts as lost.

    Raises:
        BiomedJourneyError: if the URL is invalid or contains credentials.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca_file: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        from dicomweb_client.web import DICOMwebClient

        _check_url(url)
        silence_dicom_libraries()  # the client reads answers with pydicom too
        silence_loggers(*_LOGGERS)  # their lines contain URLs
        session = _session(user, password, token, ca_file)
        self._client = DICOMwebClient(url.rstrip("/"), session=session, chunk_size=_ONE_CHUNK, timeout=timeout)
        self._client.set_http_retry_params(True, max_attempts=ATTEMPTS, wait_exponential_multiplier=100)

    def studies(self, *, patient_id: str = "", study_uid: str = "") -> list[pydicom.Dataset]:
        """The studies of a patient, or one study, with `STUDY_FIELDS`."""
        filters = {"PatientID": patient_id} if patient_id else {"StudyInstanceUID": study_uid}
        return self._query("search_for_studies", search_filters=filters, fields=list(STUDY_FIELDS))

    def first_header(self, study_uid: str) -> pydicom.Dataset | None:
        """All attributes except pixels of one instance of a study; None for an empty study."""
        fields = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
        for item in self._query("search_for_instances", study_uid, fields=fields, limit=1):
            series_uid, instance_uid = (str(item.get(keyword) or "") for keyword in fields[1:])
            found = self._query("retrieve_instance_metadata", study_uid, series_uid, instance_uid)
            return found[0] if found else None
        return None

    def series(self, study_uid: str) -> list[pydicom.Dataset]:
        """The series of a study: SeriesInstanceUID, Modality."""
        return self._query("search_for_series", study_uid, fields=["Modality"])

    def headers(self, study_uid: str, series_uid: str) -> list[pydicom.Dataset]:
        """All attributes except pixels of a series' instances."""
        return self._query("retrieve_series_metadata", study_uid, series_uid)

    def holds(self, study_uid: str, series_uid: str, instance_uid: str) -> bool:
        """Whether the archive holds an instance."""
        filters = {"SOPInstanceUID": instance_uid}
        found = self._query("search_for_instances", study_uid, series_uid, search_filters=filters)
        return any(str(item.get("SOPInstanceUID", "")) == instance_uid for item in found)

    def retrieve(self, study_uid: str, series_uid: str, instance_uid: str) -> pydicom.Dataset:
        """One complete instance."""
        with _explained("retrieve"):
            return self._client.retrieve_instance(
                study_uid, series_uid, instance_uid, media_types=(("application/dicom", "*"),)
            )

    def store(self, dataset: pydicom.Dataset) -> None:
        """Store one instance in its study, and query it: an archive's rules may drop what it reports as stored.

        Raises:
            ArchiveError: unless the archive reports the instance as stored and then lists it.
        """
        with _explained("store"):
            answer = self._client.store_instances([dataset], study_instance_uid=str(dataset.StudyInstanceUID))
            failed = len(answer.get("FailedSOPSequence") or ())  # some send an empty one
            stored = [str(item.ReferencedSOPInstanceUID) for item in answer.get("ReferencedSOPSequence") or ()]
        if failed or str(dataset.SOPInstanceUID) not in stored:
            raise _refused_store("FailedSOPSequence" if failed else "an answer that does not name the instance")
        uids = (str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
        for seconds in WAITS_FOR_A_STORE:
            time.sleep(seconds)
            if self.holds(*uids):
                return
        raise _refused_store("nothing in it after a store that it reported as successful")

    def _query(self, name: str, *uids: str, **filters: Any) -> list[pydicom.Dataset]:
        import pydicom

        with _explained("query"):
            try:
                found = getattr(self._client, name)(*uids, **filters)
            except Exception as error:
                if _status(error) == 404:  # some archives answer 404 where others send an empty list
                    return []
                raise
        found = [found] if isinstance(found, dict) else found
        with _explained("read the answer to"), as_image_error():
            return [pydicom.Dataset.from_json(item, lambda *_: b"") for item in found]


def _check_url(url: str) -> None:
    """Refuse an invalid URL without showing it: it may contain credentials."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        found = "no host" if parts.scheme in ("http", "https") else "another scheme or none"
        raise BiomedJourneyError("--url must be the http or https URL of a DICOMweb service", found=found)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise BiomedJourneyError(
            "--url must contain neither credentials nor a query",
            found="credentials" if "@" in parts.netloc else "a query or a fragment",
            action="Pass --user, and the password in a file or the environment",
        )


def is_unprotected(url: str) -> bool:
    """Whether others can read what is sent: no TLS, and not to this machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def _session(user: str | None, password: str | None, token: str | None, ca_file: str | None) -> requests.Session:
    import requests

    from biomedjourney_monai.clinic.pacs.archive import LimitedSession

    class Bearer(requests.auth.AuthBase):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = f"Bearer {token}"
            return request

    session = LimitedSession()
    session.trust_env = False
    session.max_redirects = 0
    if token is not None:
        session.auth = Bearer()
    elif user is not None:
        session.auth = requests.auth.HTTPBasicAuth(user.encode(), (password or "").encode())
    if ca_file is not None:
        session.verify = ca_file
    return session


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn what the client raises into an `ArchiveError` that contains no URL."""
    try:
        yield
    except (BiomedJourneyError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise _explain(error, doing) from None  # the error's text, and its causes' texts, contain the URL


def _explain(error: Exception, doing: str) -> ArchiveError:
    import requests

    from biomedjourney_monai.clinic.pacs.archive import MAX_ANSWER_BYTES, AnswerTooLarge

    status = _status(error)
    if status is not None:
        return _explain_status(status, doing)
    if isinstance(error, AnswerTooLarge):
        rule = f"an archive's answer must have at most {MAX_ANSWER_BYTES // 1024**2} MB ({doing})"
        return ArchiveError(rule, found="a larger one", reason="answer too large")
    if isinstance(error, requests.exceptions.SSLError):
        rule, action = "the archive's certificate must be trusted", "Pass --ca FILE with its authority's certificates"
        reason = "certificate not trusted"
        return ArchiveError(rule, found="an untrusted one", action=action, reason=reason, ends_the_run=True)
    if isinstance(error, requests.exceptions.TooManyRedirects):
        rule, action = "the archive must not redirect", "Pass the URL that it points to, if you trust it"
        return ArchiveError(rule, found="a redirect", action=action, reason="redirected", ends_the_run=True)
    if isinstance(error, (requests.exceptions.RequestException, OSError)):
        found = "no answer in time" if isinstance(error, requests.exceptions.Timeout) else "a lost connection"
        action = "Check the network and the archive, and run again: no instance is stored twice"
        rule = f"the archive must send a complete answer ({doing})"
        return ArchiveError(rule, found=found, action=action, reason="connection lost")
    rule, found = f"the archive must speak DICOMweb ({doing})", type(error).__name__
    return ArchiveError(rule, found=found, action="Check --url", reason="answer not understood")


def _explain_status(status: int, doing: str) -> ArchiveError:
    found = str(status)
    if status == 401:
        rule, action = "the archive must accept the credentials", "Check user and password, or the token and its expiry"
        return ArchiveError(rule, found=found, action=action, reason="credentials refused", ends_the_run=True)
    if doing == "store" and status not in (408, 429, 502, 503, 504):
        return _refused_store(found)
    if status == 403:
        return ArchiveError(f"the archive must allow to {doing}", found=found, reason="not allowed")
    if status >= 500 or status in (408, 429):
        return ArchiveError(f"the archive must be able to {doing}", found=found, reason="archive failed")
    return ArchiveError(
        f"the archive must support requests to {doing}", found=found, action="Check --url", reason="not found"
    )


def _refused_store(found: str) -> ArchiveError:
    rule = "the archive must take what is stored"
    return ArchiveError(rule, found=found, action="Check its rules", reason="store refused")


def _status(error: Exception) -> int | None:
    """The HTTP status of an error, or of the last attempt of the client's retries."""
    response = getattr(error, "response", None)
    attempt = getattr(error, "last_attempt", None)
    if response is None and attempt is not None and not attempt.has_exception:
        response = attempt.value
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) and status >= 400 else None
