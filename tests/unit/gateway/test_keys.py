"""Who is asking."""

import pytest

from penstock.core.errors import InvalidKeyError, MissingKeyError
from penstock.core.principals import LOCAL
from penstock.core.secrets import Secret
from penstock.gateway.keys import KeyRing

RING = KeyRing([Secret("one"), Secret("zwei-é")], [Secret("root")])


def test_without_keys_everybody_is_the_local_user():
    assert KeyRing().authenticate([]) == LOCAL
    assert not KeyRing().needed
    assert LOCAL.is_admin


def test_a_key_is_a_principal_of_its_own():
    one, two, root = (RING.authenticate([key]) for key in ("one", "zwei-é", "root"))
    assert len({one.id, two.id, root.id}) == 3
    assert (one.is_admin, two.is_admin, root.is_admin) == (False, False, True)
    assert RING.authenticate(["", "wrong", "one"]) == one


def test_refusals():
    with pytest.raises(MissingKeyError):
        RING.authenticate(["", ""])
    with pytest.raises(InvalidKeyError) as caught:
        RING.authenticate(["wrong-key"])
    assert "wrong-key" not in caught.value.message


def test_nothing_shows_a_key():
    shown = repr(RING) + repr(RING.__dict__) + repr(RING.authenticate(["one"]))
    assert "one" not in shown.replace("None", "")
    assert "root" not in shown
    assert repr(Secret("sk-123")) == f"{Secret('sk-123')}" == "Secret('***')"
