"""From two reports to a progression description, checked."""
