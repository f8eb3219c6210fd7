"""OpenAI's images API where no vector shows it: the table of fields, forms, previews."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openai.types import image_edit_params, image_generate_params

from penstock.core.errors import (
    ConfigError,
    GatewayError,
    InvalidRequestError,
    UnsupportedParameterError,
)
from penstock.core.events import Blob, Done, Entry, Event, Image, Progress, Seq, Start, Usage
from penstock.core.folding import fold
from penstock.core.ports import Call
from penstock.core.request import ImageAsk, Request
from penstock.dialects._openai_fields import Field
from penstock.dialects.openai_images import Dialect, shapes
from penstock.dialects.openai_images.fields import EDITS, GENERATIONS
from penstock.dialects.openai_images.multipart import Part, parts
from penstock.wire import json

PAGE = Path(__file__).parents[3] / "docs" / "dialects" / "openai_images.md"
GENERATE, EDIT = Dialect.routes
PICTURE = "data:image/png;base64,aGk="
BLOB = Blob(sha256="ab", media_type="image/png", size=1)


def generation(**body: object) -> Request:
    data = json.encode({"prompt": "x", **body})
    return Dialect().parse(Call(GENERATE, {}, {}, {}, data))


def edit(**body: object) -> Request:
    data = json.encode({"prompt": "x", "images": [{"image_url": PICTURE}], **body})
    return Dialect().parse(Call(EDIT, {}, {}, {}, data))


def form(boundary: str, *fields: tuple[str, bytes, str]) -> bytes:
    """Name, data and further headers of each field."""
    lines = []
    for name, data, more in fields:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
        lines.append(head.encode() + data + b"\r\n")
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


def by_form(*fields: tuple[str, bytes, str]) -> Request:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    return Dialect().parse(Call(EDIT, {}, {}, headers, form("b", *fields)))


FILE = '; filename="a.png"\r\nContent-Type: image/png'
NEEDED = (("prompt", b"x", ""), ("image", b"hi", FILE))


# ── the table of fields ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        (
            GENERATIONS,
            (
                image_generate_params.ImageGenerateParamsNonStreaming,
                image_generate_params.ImageGenerateParamsStreaming,
            ),
        ),
        (
            EDITS,
            (
                image_edit_params.ImageEditParamsNonStreaming,
                image_edit_params.ImageEditParamsStreaming,
            ),
        ),
    ],
)
def test_the_table_has_every_field_that_the_released_client_knows(
    table: tuple[Field, ...], kinds: tuple[type, ...]
):
    known = {name for kind in kinds for name in get_type_hints(kind)}
    assert known - {field.name for field in table} == set()


def test_the_tables_and_the_bodies_have_the_same_fields():
    for table, body in ((GENERATIONS, shapes.GenerationBody), (EDITS, shapes.EditBody)):
        assert {field.name for field in table} == set(body.__struct_fields__)
        assert len({field.name for field in table}) == len(table)
    assert set(shapes.EditForm.__struct_fields__) <= {field.name for field in EDITS}


def test_the_page_has_the_table():
    lines = PAGE.read_text().splitlines()
    told = [line for line in lines if re.match(r"\| `\w+` \| (honoured|hint|refused) \|", line)]
    wanted = []
    for field in EDITS:
        note = f" {field.note} |" if field.note else " |"
        wanted.append(f"| `{field.name}` | {field.use} |{note}")
    assert told == wanted


@pytest.mark.parametrize(
    "field", [field for field in EDITS if field.use == "refused"], ids=lambda field: field.name
)
def test_refused_fields_are_named(field: Field):
    with pytest.raises(UnsupportedParameterError, match=field.name) as caught:
        edit(**{field.name: {"some": "wish"}})
    assert caught.value.param == field.name
    assert edit(**{field.name: None}) == edit()
    with pytest.raises(UnsupportedParameterError) as caught:
        by_form(*NEEDED, (field.name, b"1", ""))
    assert caught.value.param == field.name


@pytest.mark.parametrize("name", ["user", "safety_identifier"])
def test_hints_are_named_and_change_nothing(name: str):
    found = edit(**{name: "u-1"})
    assert found.ignored == (name,)
    assert msgspec.structs.replace(found, ignored=()) == edit()


def test_what_is_ordinary_asks_for_nothing():
    ordinary: dict[str, object] = {
        "size": "auto",
        "quality": "standard",
        "background": "auto",
        "moderation": "auto",
        "output_compression": 100,
        "input_fidelity": "low",
        "response_format": "b64_json",
        "negative_prompt": "",
        "n": 1,
    }
    assert edit(**ordinary) == edit()
    assert edit(**dict.fromkeys(ordinary)) == edit()


def test_previews_are_wanted_only_of_a_stream():
    for asked, stream, wanted in ((2, True, 2), (2, False, 0), (None, True, 0), (0, True, 0)):
        image = generation(partial_images=asked, stream=stream).image
        assert image is not None
        assert image.previews == wanted


# ── forms ────────────────────────────────────────────────────────────────────────────────────────


def test_a_form_says_what_json_says():
    more: dict[str, object] = {
        "n": 2,
        "size": "64x32",
        "stream": True,
        "partial_images": 1,
        "seed": 7,
        "guidance_scale": 1.5,
        "quality": "high",
        "user": "u",
    }
    texts = [(name, str(value).lower().encode(), "") for name, value in more.items()]
    by_json = edit(**more)
    found = by_form(*NEEDED, *texts)
    assert by_json.image is not None
    assert found.image is not None
    assert found.image.inputs[0].at == "image"
    same = msgspec.structs.replace(found.image, inputs=by_json.image.inputs)
    assert msgspec.structs.replace(found, image=same) == by_json


def test_an_empty_field_of_a_form_is_not_given():
    names = ("size", "n", "seed", "stream", "quality", "response_format", "svg", "user")
    assert by_form(*NEEDED, *[(name, b"", "") for name in names]) == by_form(*NEEDED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", b"two"),
        ("n", b"1.5"),
        ("stream", b"maybe"),
        ("seed", b"x"),
        ("partial_images", b"4"),
        ("guidance_scale", b"hot"),
        ("background", b"pink"),
        ("size", b"big"),
        ("style", b"\xff"),
    ],
)
def test_wrong_fields_of_a_form_are_named(name: str, value: bytes):
    with pytest.raises(InvalidRequestError, match=name) as caught:
        by_form(*NEEDED, (name, value, ""))
    assert caught.value.param == name


def test_pictures_of_a_form_may_be_addresses():
    found = by_form(
        ("prompt", b"x", ""),
        ("image[]", PICTURE.encode(), ""),
        ("image[]", b"https://example.com/a.png", ""),
        ("image[]", b"https://example.com/a.png", FILE),
        ("mask", b"raw", '; filename="m"'),
    )
    assert found.image is not None
    urls = [part.url for part in found.image.inputs]
    assert urls[:2] == [PICTURE, "https://example.com/a.png"]
    assert (urls[2] or "").startswith("data:image/png;base64,")
    assert [part.at for part in found.image.inputs] == ["image[0]", "image[1]", "image[2]"]
    assert found.image.mask is not None
    assert found.image.mask.url == "data:image/*;base64,cmF3"


names = st.text(st.characters(codec="utf-8", exclude_characters='"\\\r\n\0'), min_size=1)


@given(st.lists(st.tuples(names, st.binary(), st.booleans()), max_size=5))
@example([("image", b"\r\n--b\r\n", True), ("image", b"--b--", False)])
def test_a_form_is_read_as_it_was_written(fields: list[tuple[str, bytes, bool]]):
    boundary = "a-boundary-that-no-field-holds"
    written = form(
        boundary,
        *[(name, data, '; filename="f"' if file else "") for name, data, file in fields],
    )
    found = parts(f"multipart/form-data; boundary={boundary}", written)
    assert found == [Part(name, data, "", file) for name, data, file in fields]


WHOLE = form("b", *NEEDED, ("n", b"2", ""), ("mask", b"m", FILE))


@given(st.data())
def test_a_broken_form_is_an_error_and_no_crash(data: st.DataObject):
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    cut = data.draw(st.integers(at, len(WHOLE)))
    broken = WHOLE[:at] + data.draw(st.binary(max_size=20)) + WHOLE[cut:]
    headers = {"content-type": "multipart/form-data; boundary=b"}
    with suppress(InvalidRequestError):
        assert Dialect().parse(Call(EDIT, {}, {}, headers, broken)).image is not None


@pytest.mark.parametrize("end", range(1, len(WHOLE) - 4, 7))
def test_a_cut_form_is_never_taken_for_a_whole_one(end: int):
    headers = {"content-type": "multipart/form-data; boundary=b"}
    with pytest.raises(InvalidRequestError, match="form"):
        Dialect().parse(Call(EDIT, {}, {}, headers, WHOLE[:end]))


def test_a_form_has_not_endless_parts():
    many = form("b", *[("x", b"", "")] * 257)
    with pytest.raises(InvalidRequestError, match="more than 256 parts"):
        parts("multipart/form-data; boundary=b", many)


def test_two_pictures_at_one_place_are_refused():
    with pytest.raises(InvalidRequestError, match="image: a JSON body has images"):
        edit(image=PICTURE)
    with pytest.raises(InvalidRequestError, match="mask: there are two"):
        by_form(*NEEDED, ("mask", b"m", FILE), ("mask", b"m", FILE))


# ── previews ─────────────────────────────────────────────────────────────────────────────────────


def told(wanted: int | None, *events: Event, count: int = 1) -> list[dict[str, object]]:
    """The events of a stream of these."""
    asked = Request(modality="image", image=ImageAsk(previews=wanted, count=count), stream=True)
    encoder = Dialect().encoder(asked)
    start = Start(stream="s", asked="", binding="b", model="m", created=0)
    found = []
    for n, event in enumerate((start, *events), 1):
        for frame in encoder.feed(Entry(Seq(n), n, event)):
            places = bytes(frame.data).replace(b'"\0"', b'""')
            found.append(json.decode(places, dict[str, object], ConfigError))
    return found


def step(at: int, of: int) -> Progress:
    return Progress(what="step", at=at, of=of, preview=BLOB)


def shown(events: list[dict[str, object]]) -> list[object]:
    return [e["partial_image_index"] for e in events if "partial_image_index" in e]


@given(
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 50)), max_size=60),
    st.integers(0, 3),
)
def test_never_more_previews_than_were_asked_for(
    wanted: int, steps: list[tuple[int, int]], pictures: int
):
    events: list[Event] = []
    for n in range(pictures + 1):
        events += [step(at, of) for at, of in steps]
        if n < pictures:
            events.append(Image(part=n, blob=BLOB))
    indexes: list[object] = []
    end: dict[str, object] = {"type": "end"}
    for one in [*told(wanted, *events, Done(reason="stop"), count=4), end]:
        if "partial_image_index" in one:
            indexes.append(one["partial_image_index"])
        else:
            assert indexes == list(range(len(indexes)))
            assert len(indexes) <= wanted
            indexes = []


@pytest.mark.parametrize("wanted", [1, 2, 3])
@pytest.mark.parametrize("steps", [4, 5, 20, 50, 150])
def test_as_many_as_were_asked_for_evenly(wanted: int, steps: int):
    events = [step(n, steps) for n in range(1, steps + 1)]
    counts = [len(told(wanted, *events[:n])) for n in range(steps + 1)]
    seen = [n for n in range(1, steps + 1) if counts[n] > counts[n - 1]]
    assert len(seen) == wanted
    gaps = [b - a for a, b in zip([0, *seen], [*seen, steps], strict=True)]
    assert max(gaps) - min(gaps) <= 2


@pytest.mark.parametrize("wanted", [1, 2, 3])
@pytest.mark.parametrize("steps", [*range(4, 31), 50])
@pytest.mark.parametrize("pictures", [1, 2, 3])
@pytest.mark.parametrize("together", [True, False])
def test_an_engine_that_makes_as_many_as_are_wanted_has_all_shown(
    wanted: int, steps: int, pictures: int, together: bool
):
    """As `diffusers` chooses; whether it counts the steps of all pictures together or not."""
    events: list[Event] = []
    made = [round(k * steps / (wanted + 1)) for k in range(1, wanted + 1)]
    for n in range(pictures):
        for at in range(1, steps + 1):
            whole, of = (n * steps + at, steps * pictures) if together else (at, steps)
            preview = BLOB if at in made else None
            events.append(Progress(what="step", at=whole, of=of, preview=preview))
        events.append(Image(part=n, blob=BLOB))
    found = told(wanted, *events, Done(reason="stop"), count=pictures)
    assert shown(found) == list(range(wanted)) * pictures


def test_what_was_chosen_elsewhere_is_shown():
    """An upstream that sends its own three partial pictures."""
    assert shown(told(3, *[step(n, 3) for n in (1, 2, 3)])) == [0, 1, 2]
    assert shown(told(3, step(0, 0), step(0, 0))) == [0, 1]
    assert shown(told(None, *[step(n, 9) for n in range(1, 10)])) == [0, 1, 2]
    assert shown(told(0, step(1, 1))) == []


def test_counts_that_come_first_hold_no_picture_back():
    usage = Usage(input_tokens=2, output_tokens=3)
    found = told(0, usage, Image(part=0, blob=BLOB))
    assert [event["type"] for event in found] == ["image_generation.completed"]
    assert found[0]["usage"] == {
        "total_tokens": 5,
        "input_tokens": 2,
        "output_tokens": 3,
        "input_tokens_details": {"text_tokens": 2, "image_tokens": 0},
    }


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("filtered", 400, "moderation_blocked"),
        ("cancelled", 400, "cancelled"),
        ("stop", 502, "image_generation_failed"),
    ],
)
def test_an_answer_without_a_picture_is_an_error(reason: str, status: int, code: str):
    done = msgspec.convert({"type": "done", "reason": reason}, Done)
    start = Start(stream="s", asked="", binding="b", model="m", created=0)
    reply = fold([Entry(Seq(1), 0, start), Entry(Seq(2), 1, done)])
    answer = Dialect().whole(generation(), reply)
    error = json.decode(answer.body, dict[str, dict[str, object]], ConfigError)["error"]
    assert (answer.status, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from([field.name for field in EDITS]), json_values, st.sampled_from([GENERATE, EDIT])
)
def test_any_value_is_read_or_refused_by_name(name: str, value: object, route: object):
    body = {"prompt": "x", "images": [{"image_url": PICTURE}], name: value}
    found = refused_or_read(generation if route is GENERATE else edit, body)
    if isinstance(found, Request):
        assert json.decode(json.encode(found), Request, ConfigError) == found
    else:
        assert isinstance(found, InvalidRequestError)
        assert (found.param or "").startswith(name) or "not valid JSON" in found.message


def refused_or_read(ask: Callable[..., Request], body: dict[str, object]) -> Request | GatewayError:
    try:
        return ask(**body)
    except GatewayError as error:
        return error
