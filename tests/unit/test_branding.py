"""The look of an organization's portal: origins, colors and logos are read, and text on a color can be read."""

import pytest

from hookhub.branding import luminance, read_color, read_logo, read_origin, readable_on, style_of

DOT = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example:443/", "https://app.example"),
        (" https://app.example:8443 ", "https://app.example:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_has_one_spelling(given: str, read: str) -> None:
    assert read_origin(given) == read


@pytest.mark.parametrize(
    "given",
    [
        "", "app.example", "*", "https://*", "https://*.example", "'self'", "https://", "http://app.example",
        "https://app.example/path", "https://app.example?a", "https://app.example#a", "https://a b.example",
        "https://app.example; script-src *", "https://app.example\nx", "javascript:alert(1)", "https://me@app.example",
        "https://app.example:99999", "https://[::1", "data:,", "null", "https://café.example",
    ],
)  # fmt: skip
def test_anything_else_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_origin(given)


@pytest.mark.parametrize("color", ["#000000", "#ffffff", "#767676", "#777777", "#ff0000", "#00ff00", "#1f4b99"])
def test_text_on_any_accent_color_has_the_contrast_that_wcag_demands(color: str) -> None:
    lighter, darker = sorted((luminance(color), luminance(readable_on(color))), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
    assert style_of(color) == f":root{{--accent:{color};--on-accent:{readable_on(color)}}}"


def test_colors_and_logos_are_read() -> None:
    assert (read_color(""), read_color("#A0b1C2")) == ("", "#a0b1c2")
    assert (read_logo(""), read_logo(DOT)) == ("", DOT)


@pytest.mark.parametrize("given", ["red", "#123", "#12345g", "#1234567", "#123456}body{display:none", "#123456\n"])
def test_no_other_color_is_read(given: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_color(given)


@pytest.mark.parametrize(
    "given",
    [
        "https://cdn.example/logo.png",
        "data:text/html;base64,AA==",
        "data:image/png,AA",
        f'{DOT}" onerror="x',
        f"{DOT}\n",
    ],
)
def test_no_other_logo_is_read(given: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_logo(given)
