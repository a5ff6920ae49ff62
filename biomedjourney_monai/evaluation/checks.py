"""Checks of the stages' arguments."""

from biomedjourney_monai.errors import SettingError


def require_at_least(minimum: int, **values: int | None) -> None:
    """Refuse numbers below a minimum; None means not given.

    Raises:
        SettingError: naming the argument.
    """
    for name, value in values.items():
        if value is not None and value < minimum:
            raise SettingError(name, f"must be >= {minimum}", found=str(value))
