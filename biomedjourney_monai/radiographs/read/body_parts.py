"""The chest in DICOM's BodyPartExamined, which devices also fill with words of their own."""

import re
import unicodedata
from contextlib import suppress

CHEST = r"CHESTS?|THORAX|TORAX|TORACE|LUNGS?|LUNGE|PULMONES|PULMON|PULMOES|PULMAO|POUMONS?|PECHO|BRUSTKORB|BRUST"
"""Names of the chest and the lungs in English, Spanish, Italian, Portuguese, French and German, without accents."""

DETAILS = (
    "PA|AP|LATERAL|LAT|LL|RL|FRONTAL|FRONT|POSTERO|ANTERO|POSTERIOR|ANTERIOR|ERECT|UPRIGHT|STANDING|SUPINE|SITTING|"
    "SEATED|BEDSIDE|BED|PORTABLE|MOBILE|ROUTINE|STANDARD|ADULT|PEDIATRIC|PAEDIATRIC|CHILD|INFANT|VIEWS?|XRAY|RAY|XR|"
    "CXR|CR|DX|DR|RX|X|V|STEHEND|LIEGEND|PORTATIL|DE|DEL|OF|THE|AND|IN|EXPIRATION|INSPIRATION"
)
"""Words beside the name that do not name another part of the body."""

_NAME = re.compile(rf"(?:{CHEST}|{DETAILS}|[^A-Z])*")
_CHEST = re.compile(CHEST)


def is_chest(body_part: str) -> bool:
    """Whether a value of BodyPartExamined is blank or names the chest and nothing else.

    Example:
        >>> is_chest("CHEST PA"), is_chest("TÓRAX"), is_chest("THORACIC SPINE"), is_chest("CHEST ABDOMEN")
        (True, True, False, False)
    """
    with suppress(UnicodeError):  # UTF-8, which DICOM does not foresee here and pydicom reads as Latin-1
        body_part = body_part.encode("latin-1").decode("utf-8")
    plain = unicodedata.normalize("NFKD", body_part.strip().upper())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return not plain or bool(_CHEST.search(plain) and _NAME.fullmatch(plain))
