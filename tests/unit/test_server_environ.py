"""The media type of a request, as the application gets it."""

from typing import Any

import pytest

from hookhub.server.environ import drop_charset


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [
        ("application/json", "application/json"),
        ("application/json ; charset=base64", "application/json"),
        ("application/json; boundary=x", "application/json"),
        ("multipart/form-data; boundary=----3c3ba8b523b2", 'multipart/form-data; boundary="----3c3ba8b523b2"'),
        ("Multipart/Form-Data;charset=base64; Boundary=a ;b=c", 'Multipart/Form-Data; boundary="a"'),
        ('multipart/form-data; boundary="a:b"; charset=x', 'multipart/form-data; boundary="a:b"'),
        ('multipart/form-data; boundary="a\\"; charset=x"', "multipart/form-data"),
        ("multipart/form-data; x-boundary=a", "multipart/form-data"),
        ("multipart/form-data; boundary=" + "a" * 71, "multipart/form-data"),
        ("multipart/form-data; boundary=\xe9", "multipart/form-data"),
        ("multipart/form-data; boundary=", "multipart/form-data"),
    ],
)
def test_of_its_parameters_only_the_boundary_of_a_multipart_body_is_passed_on(sent: str, passed_on: str) -> None:
    environ: dict[str, Any] = {"CONTENT_TYPE": sent}

    drop_charset(environ)

    assert environ == {"CONTENT_TYPE": passed_on}
