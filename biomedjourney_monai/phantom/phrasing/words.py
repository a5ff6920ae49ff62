"""The vocabulary of phantom reports, read from finding_words.yaml and report_words.yaml, which explain the slots."""

from pathlib import Path
from typing import Any

import yaml


def _read(name: str) -> dict[str, Any]:
    return _with_tuples(yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8")))


def _with_tuples(content: Any) -> Any:
    """Replace lists by tuples, which cannot be changed by mistake."""
    if isinstance(content, dict):
        return {key: _with_tuples(value) for key, value in content.items()}
    return tuple(content) if isinstance(content, list) else content


_FINDINGS, _REPORT = _read("finding_words.yaml"), _read("report_words.yaml")

SEVERITY_WORDS: dict[str, dict[int, tuple[str, ...]]] = _FINDINGS["severity_words"]
PREDICATE_WORDS: dict[str, dict[int, tuple[str, ...]]] = _FINDINGS["predicate_words"]
ADVERBS: dict[int, tuple[str, ...]] = _FINDINGS["adverbs"]
NOUNS: dict[str, tuple[str, ...]] = _FINDINGS["nouns"]
PLURALS: dict[str, str] = _FINDINGS["plurals"]
COUNTABLE: tuple[str, ...] = _FINDINGS["countable"]
BILATERAL_ATELECTASIS: tuple[str, ...] = _FINDINGS["bilateral_atelectasis"]
PRIOR: tuple[str, ...] = _FINDINGS["prior"]
FRAMES: dict[str, dict[str, tuple[str, ...]]] = _FINDINGS["frames"]
RESOLVED: tuple[str, ...] = _FINDINGS["resolved"]
LEADS: dict[str, str] = _FINDINGS["leads"]
HEART_FRAMES: dict[str, tuple[str, ...]] = _FINDINGS["heart_frames"]
HEART_UNCERTAIN: tuple[str, ...] = _FINDINGS["heart_uncertain"]
HEART_RESOLVED: tuple[str, ...] = _FINDINGS["heart_resolved"]
DENIALS: dict[str, tuple[str, ...]] = _FINDINGS["denials"]
DENIAL_FRAMES: tuple[str, ...] = _FINDINGS["denial_frames"]
HEART_NORMAL: tuple[str, ...] = _FINDINGS["heart_normal"]
LUNGS_EXPANDED: tuple[str, ...] = _FINDINGS["lungs_expanded"]

EXAMINATIONS: dict[str, tuple[str, ...]] = _REPORT["examinations"]
TECHNIQUES: dict[str, tuple[str, ...]] = _REPORT["techniques"]
PEOPLE: dict[str, tuple[str, ...]] = _REPORT["people"]
COMPLAINTS: tuple[str, ...] = _REPORT["complaints"]
QUESTIONS: tuple[str, ...] = _REPORT["questions"]
HISTORIES: tuple[str, ...] = _REPORT["histories"]
COMPARISONS_FIRST: tuple[str, ...] = _REPORT["comparisons_first"]
COMPARISONS_LATER: tuple[str, ...] = _REPORT["comparisons_later"]
CLEAR_IMPRESSIONS: tuple[str, ...] = _REPORT["clear_impressions"]
NO_CHANGE: tuple[str, ...] = _REPORT["no_change"]
LUNG_VOLUMES: tuple[str, ...] = _REPORT["lung_volumes"]
CLEAR_LUNGS: tuple[str, ...] = _REPORT["clear_lungs"]
MEDIASTINUM: tuple[str, ...] = _REPORT["mediastinum"]
BONES: tuple[str, ...] = _REPORT["bones"]
DEVICE_STATEMENTS: dict[str, tuple[str, ...]] = _REPORT["device_statements"]
CLOSINGS: tuple[str, ...] = _REPORT["closings"]
WET_READS: tuple[str, ...] = _REPORT["wet_reads"]
TYPOS: dict[str, tuple[str, ...]] = _REPORT["typos"]
