"""What the code declares of each alarm, as the first line of its section in the runbook."""

from optimizer.service.alarms import ALARM_DEFINITIONS
from optimizer.service.status import AlarmCode
from twin.text import format_duration


def heading(code: AlarmCode) -> str:
    """Return the heading of an alarm's section and what is declared of it."""
    one = ALARM_DEFINITIONS[code]
    raised = f"after {format_duration(one.raise_delay_s)}" if one.raise_delay_s else "at once"
    cleared = f"after {format_duration(one.clear_delay_s)}" if one.clear_delay_s else "at once"
    return (
        f"## `{code.value}`\n\n"
        f"Severity: {one.severity.value}. Act within {format_duration(one.time_to_act_s)}. "
        f"Raised {raised}, cleared {cleared}.\n\n"
        f"- Cause: {one.cause}.\n"
        f"- If nobody acts: {one.consequence}.\n"
        f"- Remedy: {one.remedy}.\n"
    )
