"""The run's own row in its journal: what ran, from which models, on which machine."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from zppo_core.config.schema import method_of
from zppo_core.engines.factory import Teacher
from zppo_core.models.loading import weights_name
from zppo_core.processes.machine import code_version, machine
from zppo_core.records.phases import RUN_UNIT
from zppo_core.records.schema import encode
from zppo_core.run.spec import Run

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def record_run(run: Run, student: PreTrainedModel, teacher: Teacher | None) -> None:
    """Commit the row of `runs` once, before the first update changes the student."""
    if run.journal.manifest(RUN_UNIT) is not None:
        return
    config = run.config
    row = {
        "run_key": run.key,
        "created_at": datetime.fromisoformat(run.created_at),
        "scale": config.scale,
        "method": method_of(config).name,
        "seed": config.run.seed,
        "config_json": config.to_json(),
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
    run.journal.commit(RUN_UNIT, {"runs.parquet": encode("runs", [row])})
