import math
import subprocess
import sys

import pytest

from t2a.errors import ConfigError
from t2a.generate.settings import LMSettings


def test_what_is_not_given_has_its_default():
    assert LMSettings.read({"top_k": 7}) == LMSettings(temperature=1.0, top_k=7)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"steps": 25}, "A language model has no setting steps: it knows temperature, top_k, top_p, overlap."),
        ({"top-k": 25}, "A language model has no setting top-k: did you mean top_k?"),
        ({"temperature": -1}, "temperature is -1; it should be greater than or equal to 0."),
        ({"overlap": math.nan}, "overlap is nan; it should be a finite number."),
        ({"top_k": "many", "top_p": 2}, r"top_k is many; .* top_p is 2; it should be less than or equal to 1."),
    ],
)
def test_what_means_nothing_is_told_in_a_sentence(given, told):
    with pytest.raises(ConfigError, match=f"^{told}$".replace("?", r"\?")):
        LMSettings.read(given)


def test_who_only_asks_for_settings_loads_no_torch():
    code = "import sys, t2a.generate.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
