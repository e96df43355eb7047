"""The wire format of a run's records: a Parquet file a table, `<table>.parquet` in a journal unit.

Writers (training, evaluation) and the reader (`eval.report.database`) share these columns. What one
means and its unit stand once, in `zppo_core/records/schema.sql`; a test keeps the two in agreement.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = 4  # raise it when a column is added, and say in docs/database.md what changed

_STR, _INT, _LONG = pa.string(), pa.int32(), pa.int64()
_REAL, _BOOL, _TIME = pa.float64(), pa.bool_(), pa.timestamp("us")

# a type alone: never null; a name ending in "?" may be null or absent from older files
_COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "runs": {
        "run_key": _STR,
        "created_at": _TIME,
        "scale": _STR,
        "method": _STR,
        "seed": _LONG,
        "config_json": _STR,
        "code_version": _STR,
        "machine": _STR,
        "student_model": _STR,
        "teacher_model?": _STR,
        "student_params": _LONG,
        "teacher_params?": _LONG,
        "base_model_key?": _STR,
        "teacher_model_key?": _STR,
    },
    "steps": {
        "run_key": _STR,
        "step": _INT,
        "new_prompts": _INT,
        "replay_prompts": _INT,
        "hard": _INT,
        "hard_in_buffer?": _INT,
        "eligible_bcq": _INT,
        "eligible_ncq": _INT,
        "used_bcq": _INT,
        "used_ncq": _INT,
        "used_hint": _INT,
        "used_prefix": _INT,
        "buffer_size": _INT,
        "mismatch_mean?": _REAL,
        "mismatch_max?": _REAL,
        "weight_version": _LONG,
    },
    "step_kinds": {
        "run_key": _STR,
        "step": _INT,
        "kind": _STR,
        "groups": _INT,
        "trivial": _INT,
        "rollouts": _INT,
        "positive_advantage": _INT,
        "accuracy": _REAL,
        "tokens": _LONG,
    },
    "phases": {
        "run_key": _STR,
        "step": _INT,
        "phase": _STR,
        "seconds": _REAL,
        "model_seconds?": _REAL,
        "student_seconds?": _REAL,
        "teacher_seconds?": _REAL,
        "learner_seconds?": _REAL,
        "sync_seconds?": _REAL,
        "sync_bytes?": _LONG,
    },
    "groups": {
        "run_key": _STR,
        "step": _INT,
        "uid": _STR,
        "question_id": _STR,
        "kind": _STR,
        "family": _STR,
        "category?": _STR,
        "prompt_text": _STR,
        "prompt_digest": _STR,
        "prompt_tokens": _INT,
        "accuracy": _REAL,
        "gold": _STR,
        "positive_answer?": _STR,
        "negative_answers?": pa.list_(_STR),
        "right_first?": _BOOL,
        "candidate_texts?": pa.list_(_STR),
    },
    "rollouts": {
        "run_key": _STR,
        "step": _INT,
        "uid": _STR,
        "member": _INT,
        "text": _STR,
        "token_ids": pa.list_(_INT),
        "logp": pa.list_(pa.float32()),
        "reward": _REAL,
        "outcome": _STR,
        "answer?": _STR,
        "finish": _STR,
        "forced": _INT,
        "version": _LONG,
    },
    "advantages": {
        "run_key": _STR,
        "step": _INT,
        "uid": _STR,
        "member": _INT,
        "advantage": _REAL,
    },
    "teacher_draws": {
        "run_key": _STR,
        "step": _INT,
        "question_id": _STR,
        "visit": _INT,
        "draw": _INT,
        "purpose": _STR,
        "text": _STR,
        "tokens": _INT,
        "reward?": _REAL,
        "outcome?": _STR,
        "answer?": _STR,
        "source_answer?": _STR,
        "source_tokens?": _INT,
        "source_characters?": _INT,
        "cached": _BOOL,
        "fallback": _BOOL,
        "attempts": _INT,
    },
    "buffer_events": {
        "run_key": _STR,
        "step": _INT,
        "question_id": _STR,
        "event": _STR,
        "accuracy?": _REAL,
        "entry_accuracy": _REAL,
        "entry_step": _INT,
        "visits": _INT,
        "replayed": _BOOL,
    },
    "updates": {
        "run_key": _STR,
        "step": _INT,
        "update_index": _INT,
        "loss": _REAL,
        "grad_norm": _REAL,
        "entropy?": _REAL,
        "clip_low_share?": _REAL,
        "clip_high_share?": _REAL,
        "dual_clip_share?": _REAL,
        "ratio_mean?": _REAL,
        "tokens": _LONG,
        "divisor?": _LONG,
        "groups": _INT,
        "skipped_groups": _INT,
        "computed_tokens": _LONG,
        "seconds": _REAL,
        "skipped?": _BOOL,
    },
    "changes": {
        "run_key": _STR,
        "number": _INT,
        "step": _INT,
        "field": _STR,
        "before": _STR,
        "after": _STR,
    },
    "eval_samples": {
        "model_key": _STR,
        "run_key?": _STR,
        "role": _STR,
        "suite": _STR,
        "protocol_key": _STR,
        "benchmark": _STR,
        "family": _STR,
        "sample_id": _STR,
        "prompt_digest": _STR,
        "output": _STR,
        "answer?": _STR,
        "extractor": _STR,
        "scorer": _STR,
        "scorer_version": _STR,
        "score": _REAL,
        "outcome": _STR,
        "tokens": _INT,
        "seconds?": _REAL,
        "judge_reply?": _STR,
    },
    "eval_scores": {
        "model_key": _STR,
        "run_key?": _STR,
        "role": _STR,
        "suite": _STR,
        "protocol_key": _STR,
        "benchmark": _STR,
        "family": _STR,
        "n": _LONG,
        "expected_n": _LONG,
        "score?": _REAL,
        "stderr?": _REAL,
        "low?": _REAL,
        "high?": _REAL,
        "unparsed": _LONG,
        "missing_reason?": _STR,
        "malformed?": _LONG,
    },
    "costs": {
        "run_key": _STR,
        "step": _INT,
        "role": _STR,
        "activity": _STR,
        "model_params": _LONG,
        "tokens": _LONG,
        "tokens_cap": _LONG,
        "seconds": _REAL,
    },
}


def _schema(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    return pa.schema(
        pa.field(name.rstrip("?"), kind, nullable=name.endswith("?"))
        for name, kind in columns.items()
    )


TABLES: dict[str, pa.Schema] = {table: _schema(columns) for table, columns in _COLUMNS.items()}

# what identifies a row within one run: ingest refuses a second row with the same key. Two roles may
# have the same weights: a student that learned nothing, a teacher that is the base
KEYS: dict[str, tuple[str, ...]] = {
    "runs": ("run_key",),
    "steps": ("step",),
    "step_kinds": ("step", "kind"),
    "phases": ("step", "phase"),
    "groups": ("step", "uid"),
    "rollouts": ("step", "uid", "member"),
    "advantages": ("step", "uid", "member"),
    "teacher_draws": ("step", "question_id", "visit", "purpose", "draw"),
    "buffer_events": ("step", "question_id", "event"),
    "updates": ("step", "update_index"),
    "changes": ("number", "field"),
    "eval_samples": ("role", "model_key", "suite", "protocol_key", "benchmark", "sample_id"),
    "eval_scores": ("role", "model_key", "suite", "protocol_key", "benchmark"),
    "costs": ("step", "role", "activity", "model_params"),
}


class ShardError(ValueError):
    """A shard that cannot be taken as rows of its table; the text says which column and why."""


def conform(table: str, data: pa.Table) -> pa.Table:
    """`data` with exactly the columns and types of `TABLES[table]`.

    Columns that may be null are filled in when absent (files of an older version). Raises
    `ShardError` on an unknown or missing column, a value of another type, or a null where none
    may be.
    """
    schema = TABLES[table]
    unknown = sorted(set(data.column_names) - set(schema.names))
    if unknown:
        raise ShardError(f"{table}: unknown column {unknown[0]!r}")
    if len(set(data.column_names)) != len(data.column_names):
        raise ShardError(f"{table}: a column stands twice")
    columns = []
    for field in schema:
        if field.name not in data.column_names:
            if not field.nullable:
                raise ShardError(f"{table}: column {field.name!r} is missing")
            columns.append(pa.nulls(data.num_rows, field.type))
            continue
        column = data.column(field.name)
        if column.null_count and not field.nullable:
            raise ShardError(f"{table}.{field.name}: {column.null_count} nulls, none is allowed")
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
            raise ShardError(
                f"{table}.{field.name}: {column.type} is not {field.type}: {fault}"
            ) from fault
    return pa.table(columns, schema=schema)


def encode(table: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of `<table>.parquet` for `rows` (dicts; nullable columns may be left out).

    The same rows give the same bytes, so that committing a journal unit again is a no-op. Raises
    `ShardError` as `conform` does, and on a key that is not a column.
    """
    schema = TABLES[table]
    known = set(schema.names)
    for row in rows:
        if not known.issuperset(row):
            raise ShardError(f"{table}: unknown column {sorted(set(row) - known)[0]!r}")
    columns = {}
    for field in schema:
        try:
            columns[field.name] = pa.array([row.get(field.name) for row in rows], type=field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as fault:
            raise ShardError(f"{table}.{field.name}: {fault}") from fault
    buffer = io.BytesIO()
    pq.write_table(conform(table, pa.table(columns)), buffer, compression="zstd")
    return buffer.getvalue()


def decode(table: str, data: bytes) -> pa.Table:
    """The rows in the bytes of `<table>.parquet`; raises `ShardError` if they are no such file."""
    try:
        rows = pq.read_table(io.BytesIO(data))
    except (pa.ArrowInvalid, pa.ArrowIOError, OSError) as fault:
        raise ShardError(f"{table}: not a readable Parquet file ({fault})") from fault
    return conform(table, rows)
