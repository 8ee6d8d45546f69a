"""The one reader of fields: each rule, each message, and where it points."""

import pytest

from proxyless_hw.errors import SpaceError, TableError
from proxyless_hw.storage.fields import Fields

DOCUMENT = {
    "schema": "x/1",
    "name": "mine",
    "count": 3,
    "share": 0.5,
    "deep": True,
    "kind": "warm",
    "inner": {"count": 4},
    "rows": [{"count": 1}, {"count": 2}],
}


def fields(**changes: object) -> Fields:
    return Fields({**DOCUMENT, **changes}, "f.json", TableError)


def test_each_kind_of_field_is_given_back_as_it_stands() -> None:
    read = fields()
    read.schema("x/1")
    read.only(tuple(DOCUMENT))
    read.exactly(tuple(DOCUMENT))
    assert read.text("name") == "mine"
    assert read.whole("count", 0, 3) == 3
    assert read.number("share", 0, 1) == 0.5
    assert read.number("count", 0, 3) == 3
    assert read.flag("deep") is True
    assert read.choice("kind", ("warm", "cold")) == "warm"
    assert read.inner("inner").whole("count", 0, 9) == 4
    assert [row.whole("count", 0, 9) for row in read.rows("rows", 2)] == [1, 2]
    assert read.at("count") == (3, "f.json: count")
    assert read.inner("inner").at("count") == (4, "f.json: inner.count")


def test_defaults_stand_in_for_absent_fields_only() -> None:
    read = fields()
    assert read.text("other", default="a") == "a"
    assert read.whole("other", 0, 9, default=2) == 2
    assert read.number("other", default=0.5) == 0.5
    assert read.flag("other", default=False) is False
    assert read.choice("other", ("a", "b"), default="b") == "b"
    assert list(read.inner("other")) == []
    assert "other" not in read
    with pytest.raises(TableError, match="count must be a whole number from 0 to 2: received 3"):
        read.whole("count", 0, 2, default=1)


@pytest.mark.parametrize(
    ("change", "read", "message"),
    [
        ({"name": 3}, lambda f: f.text("name"), r"f\.json: name must be text: received 3\."),
        ({}, lambda f: f.text("gone"), r"gone must be text: received nothing\."),
        ({"count": True}, lambda f: f.whole("count", 0, 9), "whole number from 0 to 9: .*True"),
        ({"count": "3"}, lambda f: f.whole("count", 0, 9), "received '3'"),
        ({"count": 3.0}, lambda f: f.whole("count", 0, 9), r"received 3\.0"),
        ({"share": True}, lambda f: f.number("share"), "must be a finite number: received True"),
        ({"share": float("nan")}, lambda f: f.number("share", 0), "number from 0: received nan"),
        ({"share": float("inf")}, lambda f: f.number("share", 0), "received inf"),
        ({"share": 0}, lambda f: f.number("share", 0, 1, above=True), "above 0 to 1: received 0"),
        ({"share": 2}, lambda f: f.number("share", 0, 1), "from 0 to 1: received 2"),
        ({"deep": 1}, lambda f: f.flag("deep"), "must be true or false: received 1"),
        (
            {"kind": "warn"},
            lambda f: f.choice("kind", ("warm", "cold")),
            "one of cold, warm: received 'warn'. Did you mean 'warm'",
        ),
        ({"schema": "x/2"}, lambda f: f.schema("x/1"), "schema must be 'x/1': received 'x/2'"),
        ({}, lambda f: f.only(("name", "counts")), "unknown field 'schema'"),
        ({}, lambda f: f.exactly((*DOCUMENT, "more")), "f.json lacks the field 'more'"),
        ({"inner": 3}, lambda f: f.inner("inner"), "inner must be a mapping of fields: received 3"),
        ({"rows": {}}, lambda f: f.rows("rows", 2), "rows must be a list of 0 to 2 items"),
        ({"rows": [1]}, lambda f: f.rows("rows", 2), r"rows\[0\] must be a mapping"),
        ({"rows": []}, lambda f: f.items("rows", 2, least=1), "list of 1 to 2 items"),
    ],
)
def test_a_fault_names_file_field_rule_and_value(change, read, message) -> None:
    with pytest.raises(TableError, match=message):
        read(fields(**change))


def test_the_place_goes_through_lists_and_mappings() -> None:
    read = fields(rows=[{"count": 1}, {"count": {"high": "x"}}])
    with pytest.raises(TableError, match=r"^f\.json: rows\[1\]\.count\.high must be a whole"):
        read.rows("rows", 2)[1].inner("count").whole("high", 0, 1)


@pytest.mark.parametrize("value", [None, 3, [], "text"])
def test_what_is_no_mapping_is_refused(value: object) -> None:
    with pytest.raises(SpaceError, match=r"^a\.yaml must be a mapping of fields: received"):
        Fields(value, "a.yaml", SpaceError)
    with pytest.raises(SpaceError, match="must have text as keys: received 3"):
        Fields({3: 4}, "a.yaml", SpaceError)


def test_the_next_step_follows_every_message_and_values_are_cut_short() -> None:
    read = Fields({"a": {"b": "x" * 500}}, "f.json", TableError, next_step="Make it again.")
    with pytest.raises(TableError, match=r"\.\.\.\. Make it again\.$") as caught:
        read.inner("a").flag("b")
    assert len(str(caught.value)) < 200
