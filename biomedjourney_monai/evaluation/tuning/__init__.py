"""Search of guidance scales and `keep_unchanged` on validation journeys."""
