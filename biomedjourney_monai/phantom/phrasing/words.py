"""The vocabulary of phantom reports, read from finding_words.yaml and report_words.yaml, which explain the slots."""

from __future__ import annotations

from pathlib import Path

import yaml

_FINDINGS, _REPORT = (
    yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    for name in ("finding_words.yaml", "report_words.yaml")
)

SEVERITY_WORDS: dict[str, dict[int, list[str]]] = _FINDINGS["severity_words"]
PREDICATE_WORDS: dict[str, dict[int, list[str]]] = _FINDINGS["predicate_words"]
ADVERBS: dict[int, list[str]] = _FINDINGS["adverbs"]
NOUNS: dict[str, list[str]] = _FINDINGS["nouns"]
PLURALS: dict[str, str] = _FINDINGS["plurals"]
COUNTABLE: list[str] = _FINDINGS["countable"]
BILATERAL_ATELECTASIS: list[str] = _FINDINGS["bilateral_atelectasis"]
PRIOR: list[str] = _FINDINGS["prior"]
FRAMES: dict[str, dict[str, list[str]]] = _FINDINGS["frames"]
RESOLVED: list[str] = _FINDINGS["resolved"]
LEADS: dict[str, str] = _FINDINGS["leads"]
HEART_FRAMES: dict[str, list[str]] = _FINDINGS["heart_frames"]
HEART_UNCERTAIN: list[str] = _FINDINGS["heart_uncertain"]
HEART_RESOLVED: list[str] = _FINDINGS["heart_resolved"]
DENIALS: dict[str, list[str]] = _FINDINGS["denials"]
DENIAL_FRAMES: list[str] = _FINDINGS["denial_frames"]
HEART_NORMAL: list[str] = _FINDINGS["heart_normal"]
LUNGS_EXPANDED: list[str] = _FINDINGS["lungs_expanded"]

EXAMINATIONS: dict[str, list[str]] = _REPORT["examinations"]
TECHNIQUES: dict[str, list[str]] = _REPORT["techniques"]
PEOPLE: dict[str, list[str]] = _REPORT["people"]
COMPLAINTS: list[str] = _REPORT["complaints"]
QUESTIONS: list[str] = _REPORT["questions"]
HISTORIES: list[str] = _REPORT["histories"]
COMPARISONS_FIRST: list[str] = _REPORT["comparisons_first"]
COMPARISONS_LATER: list[str] = _REPORT["comparisons_later"]
CLEAR_IMPRESSIONS: list[str] = _REPORT["clear_impressions"]
NO_CHANGE: list[str] = _REPORT["no_change"]
LUNG_VOLUMES: list[str] = _REPORT["lung_volumes"]
CLEAR_LUNGS: list[str] = _REPORT["clear_lungs"]
MEDIASTINUM: list[str] = _REPORT["mediastinum"]
BONES: list[str] = _REPORT["bones"]
DEVICE_STATEMENTS: dict[str, list[str]] = _REPORT["device_statements"]
CLOSINGS: list[str] = _REPORT["closings"]
WET_READS: list[str] = _REPORT["wet_reads"]
TYPOS: dict[str, list[str]] = _REPORT["typos"]
