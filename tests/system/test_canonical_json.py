"""One text for one JSON value."""

import pytest

from unlearnbench.system import canonical_json


def test_one_value_has_one_text():
    text = '{"a":{"ü":null},"b":[1,2.5]}'
    assert canonical_json.object_text('{"b": [1, 2.5],\n "a": {"\\u00fc": null}}') == text
    assert canonical_json.dumps({"b": [1, 2.5], "a": {"ü": None}}) == text


@pytest.mark.parametrize(
    "text", ["", "1", "[]", "{", '{"a":NaN}', '{"a":Infinity}', '{"a":1,"a":2}', '{"a":"\\ud800"}']
)
def test_what_is_not_an_object_of_json_is_refused(text: str):
    with pytest.raises(ValueError):
        canonical_json.object_text(text)
