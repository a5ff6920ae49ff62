"""From tables, images and reports to training triples: cohort, journeys, registration, descriptions."""
