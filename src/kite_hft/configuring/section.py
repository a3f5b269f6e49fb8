"""Layer 0, every process, cold: what every section of the configuration has in common."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

SPAN_S_MAX, NUMBER_MAX = 1_000_000, 10**15
"""Any number of seconds (eleven days), and any other number."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, numbers are finite and bounded."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as truth, and truth would count as 1 and 0."""
        kind = cls.model_fields[info.field_name or ""].annotation
        kinds = {kind, *get_args(kind)}
        if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
            raise ValueError("a number is wanted; yes, no, on, off, true and false are none")
        return value

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        """Within what integers of nanoseconds and paise hold."""
        most = SPAN_S_MAX if (info.field_name or "").endswith("_s") else NUMBER_MAX
        if isinstance(value, int | float) and value > most:
            raise ValueError(f"at most {most:,} can be set here")
        return value
