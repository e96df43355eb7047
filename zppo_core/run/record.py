"""The run's own row in its journal: what ran, from which models, on which machine."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from zppo_core.engines.factory import Teacher
from zppo_core.processes.machine import code_version, machine
from zppo_core.records.phases import RUN_UNIT
from zppo_core.records.schema import encode
from zppo_core.run.setup import Setup, config_of
from zppo_core.store.journal import Journal


def record_run(setup: Setup, journal: Journal, student: Any, teacher: Teacher | None) -> None:
    """Commit the row of `runs` once, before the first update changes the student."""
    from zppo_core.models.loading import weights_name

    if journal.manifest(RUN_UNIT) is not None:
        return
    config = config_of(setup)
    row = {
        "run_key": setup["run_key"],
        "created_at": datetime.fromisoformat(setup["created_at"]),
        "scale": config.scale,
        "method": config.run.method,
        "seed": config.run.seed,
        "config_json": setup["config"],
        "code_version": code_version(),
        "machine": machine(),
        "student_model": config.student.model,
        "student_params": student.num_parameters(),
        "base_model_key": weights_name(student),
    }
    if teacher is not None:
        row |= {
            "teacher_model": config.teacher.model,
            "teacher_params": teacher.parameters or None,
            "teacher_model_key": teacher.engine.name,
        }
    journal.commit(RUN_UNIT, {"runs.parquet": encode("runs", [row])})
