"""What is special about MCLDNN."""

import frame_checks

from apps.modulation_recognition.models.mcldnn import NETWORK
from core.tflite.inspect import operators


def test_int8_file_computes_its_recurrence_in_float():
    """A loop adds in another order than Keras, so a value near a tie may get the next code."""
    content = frame_checks.check_int8_file(NETWORK, "base", 16, exact=0.9)
    assert [operator.name for operator in operators(content)].count("WHILE") == 2
