"""The command line of the tone app: the shared commands, bound to its task."""

from core.command_line.shared import bind

app = bind("tone", "short sounds by their pitch", "tone_app.task:TASK")
