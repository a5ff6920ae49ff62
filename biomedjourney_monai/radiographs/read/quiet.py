"""Keep libraries from showing what they read: their warnings and log lines quote values of the file."""

import logging


class _NoWarnings:
    """Takes the place of the module `warnings` in `pydicom.misc`, through which all warnings of pydicom go.

    Warning filters would not do: `warnings.catch_warnings` in another thread puts back those that it saw first.
    """

    @staticmethod
    def warn(*_: object, **__: object) -> None:
        """Do nothing."""


def silence_dicom_libraries() -> None:
    """Silence pydicom and highdicom for the whole process. Threads may call it, and call it again."""
    import pydicom.config  # sets the level of its logger
    import pydicom.misc

    silence_loggers("pydicom", "highdicom")
    pydicom.misc.warnings = _NoWarnings  # type: ignore[assignment]


def silence_loggers(*names: str) -> None:
    """Silence loggers and those below them for the whole process. Threads may call it, and call it again."""
    for name in names:
        logger = logging.getLogger(name)
        if logger.level != logging.CRITICAL + 1:
            logger.setLevel(logging.CRITICAL + 1)
            logger.propagate = False
