"""What the HTTP gates accept, read straight into typed values, and words for what they do not."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from api.domain.catalog import MAX_UNITS
from api.domain.errors import InvalidInput
from api.gates.held import DEFAULT_SECONDS, LONGEST_SECONDS

MOST_BYTES = 16_384
"""No input of these doors comes near it."""

_Key = Annotated[str, Meta(min_length=1, max_length=200)]
_Whole = Annotated[int, Meta(ge=1, le=MAX_UNITS)]
_Digits = Annotated[str, Meta(pattern=r"\A[0-9]{1,16}\Z")]
_HoldId = Annotated[str, Meta(min_length=1, max_length=500)]
_Seconds = Annotated[int, Meta(ge=1, le=LONGEST_SECONDS)]
_I = TypeVar("_I", bound="Input")

_RULES = {
    "customer": "a string of 1 to 200 characters",
    "feature": "a string of 1 to 200 characters, and be given",
    "units": f"a whole number from 1 to {MAX_UNITS}, or its digits in a string",
    "idempotencyKey": "a string of 1 to 200 printable characters, the first of them not ~",
    "consumptionId": "the id of a consumption, a string",
    "holdId": "the id of a hold, a string, and be given",
    "seconds": f"a whole number from 1 to {LONGEST_SECONDS}, and be given to extend a hold",
    "final": "true or false",
}
_PLACE = re.compile(r"at `\$\.([A-Za-z]+)`")
_MISSING = re.compile(r"missing required field `([A-Za-z]+)`")
_UNKNOWN = re.compile(r"unknown field `(.*)`", re.DOTALL)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\["\\])*)"')


class Input(Protocol):
    """What the input of every door has; each is a ``msgspec.Struct``."""

    __struct_encode_fields__: ClassVar[tuple[str, ...]]

    @property
    def customer(self) -> str | None:
        """Whom it is about; a customer's token may omit it."""
        ...


class CheckInput(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """The question: may ``customer`` do ``units`` of ``feature`` now?"""

    feature: _Key
    customer: _Key | None = None
    units: _Whole | float | _Digits = 1


class ConsumeInput(CheckInput, frozen=True, gc=False, kw_only=True):
    """The same, to be counted; the caller may name the operation."""

    idempotency_key: _Key | None = None


class ReleaseInput(ConsumeInput, frozen=True, gc=False, kw_only=True):
    """Units to give back, perhaps those of a certain consumption."""

    consumption_id: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class PlaceInput(ConsumeInput, frozen=True, gc=False, kw_only=True):
    """Units to set aside, and for how long."""

    seconds: _Seconds = DEFAULT_SECONDS


class VoidInput(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """A hold to give back."""

    hold_id: _HoldId
    customer: _Key | None = None
    idempotency_key: _Key | None = None


class CaptureInput(VoidInput, frozen=True, gc=False, kw_only=True):
    """Units of a hold to take for good: None, all that it holds; ``final`` gives back the rest."""

    units: _Whole | float | _Digits | None = None
    final: bool = True


class ExtendInput(VoidInput, frozen=True, gc=False, kw_only=True):
    """How long a hold is to stand, from now."""

    seconds: _Seconds


class Reader(Generic[_I]):
    """Reads one kind of input."""

    def __init__(self, kind: type[_I]) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._fields = ", ".join(kind.__struct_encode_fields__)

    def read(self, body: bytes) -> _I:
        """Return the input that ``body`` says. Raises: InvalidInput, saying which part is wrong."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise InvalidInput(self._words(str(error))) from error
        except UnicodeDecodeError as error:
            raise InvalidInput("The body is not UTF-8.") from error
        except msgspec.DecodeError as error:
            said = str(error).removeprefix("JSON is malformed: ")
            raise InvalidInput(f"The body is not JSON: {said[:200]}.") from error

    def _words(self, said: str) -> str:
        if unknown := _UNKNOWN.search(said):
            return f"There is no field {unknown[1][:100]!r}; there are {self._fields}."
        if place := _PLACE.search(said) or _MISSING.search(said):
            return f"{place[1]} must be {_RULES[place[1]]}."
        return f"The body must be a JSON object with {self._fields}."


def whole_units(given: float | str) -> int:
    """Return the number of units meant. Raises: InvalidInput."""
    if type(given) is int:
        return given
    units = 0 if isinstance(given, float) and not given.is_integer() else int(given)
    if not 1 <= units <= MAX_UNITS:
        raise InvalidInput(f"units must be {_RULES['units']}.")
    return units


def named_operation(header: bytes | None, field: str | None) -> str | None:
    """Return the caller's name for the operation, from the Idempotency-Key header or the body.

    The header is a quoted string in the IETF's draft and bare with most callers; both are read.
    Raises: InvalidInput, where the two disagree or the header is not a name.
    """
    if header is None:
        return field
    quoted = _QUOTED.fullmatch(header)
    plain = re.sub(rb"\\(.)", rb"\1", quoted[1]) if quoted else header
    try:
        name = plain.decode("ascii")
    except UnicodeDecodeError as error:
        raise InvalidInput("The header Idempotency-Key must be ASCII.") from error
    if not name:
        raise InvalidInput("The header Idempotency-Key is empty.")
    if field is not None and field != name:
        raise InvalidInput("The header Idempotency-Key and idempotencyKey in the body differ.")
    return name
