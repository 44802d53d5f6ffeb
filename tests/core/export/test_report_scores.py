"""The report's section on scores: the tables and pictures a domain has of them."""

import base64
import io
import re

import numpy as np
from PIL import Image

from core.export.report_scores import MOST_ROWS, ScoreDetails, details_section, score_details
from core.task import Scores

EVIL = "<script>alert('x')</script>"


class Drawing:
    """What stands for a task: it draws one wide picture of its scores."""

    def score_pictures(self, scores):
        return {"confusion_matrix": np.full((700, 900, 3), 200, np.uint8)}


def text(markup):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)).strip()


def test_tables_and_pictures_are_shown_under_their_names():
    rows = [
        {"class": "brain", "support": 12, "recall": 0.75, "recall_low": 0.47, "recall_high": 0.91},
        {"class": EVIL, "support": 3, "recall": None},
    ]
    details = score_details(Drawing(), Scores({}, tables={"per_class": rows, "empty": []}))
    shown = details_section(details)
    assert "per class class support recall brain 12 0.7500 0.4700 – 0.9100" in text(shown)
    assert "recall low" not in shown and "empty" not in shown and EVIL not in shown
    (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    picture = Image.open(io.BytesIO(base64.b64decode(source)))
    assert picture.size == (900, 700)  # small print of a drawing is not made smaller
    assert "confusion matrix" in text(shown)


def test_a_long_table_is_cut_and_says_so():
    rows = [{"class": f"c{n}", "support": n} for n in range(MOST_ROWS + 7)]
    shown = details_section(ScoreDetails({"classes": rows}))
    assert f">c{MOST_ROWS - 1}<" in shown and f">c{MOST_ROWS}<" not in shown
    assert "7 more rows" in text(shown)


def test_nothing_is_shown_where_there_is_nothing():
    assert details_section(None) is None
    assert details_section(ScoreDetails()) is None
