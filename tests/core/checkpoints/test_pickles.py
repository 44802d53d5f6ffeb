"""The interpreter of pickles."""

import io

import numpy as np

from core.checkpoints.pickles import Interpreter


def test_a_string_of_python_2_may_hold_any_byte():
    """Its arrays are such strings; `pickletools` alone takes them for ASCII and fails."""
    content = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I1\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
        b"I00\nS'\\x9e\\xff\\x82<'\ntb."
    )
    found = Interpreter(io.BytesIO(content)).run().array()
    np.testing.assert_array_equal(found, np.frombuffer(b"\x9e\xff\x82<", np.float32))
