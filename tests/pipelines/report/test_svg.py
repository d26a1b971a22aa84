"""Figures as inline SVG."""

from xml.etree import ElementTree

import pytest

from pipelines.report import svg


def draw(label="price & <b> $x$"):
    with svg.styled():
        figure, (axes,) = svg.canvas(height=200)
        for colour, marker, dashes in svg.series(2):
            axes.plot([0, 1], [1, 0], color=colour, marker=marker, ls=dashes, label=label)
        axes.legend()
        return svg.inline(figure)


@pytest.fixture(scope="module")
def elements():
    root = ElementTree.fromstring(draw())  # Well formed, although nothing declares a namespace.
    assert root.attrib == {"viewBox": "0 0 350 200"}
    return list(root.iter())


def test_references_lead_to_ids_that_the_page_makes_unique(elements):
    ids = {element.get("id") for element in elements} - {None}
    values = [value for element in elements for value in element.attrib.values()]
    named = {
        value.removeprefix("url(").rstrip(")").removeprefix("#") for value in values if value.startswith(("#", "url("))
    }
    assert named == ids and all(name.startswith(svg.ID) for name in ids)
    assert {element.tag for element in elements if element.get("id")} == {"path", "clipPath"}


def test_colours_and_font_are_the_pages(elements):
    styles = " ".join(element.get("style", "") for element in elements)
    assert {"var(--ink)", "var(--grid)", "var(--muted)", "var(--series-01)", "var(--series-02)"} <= set(
        styles.replace(";", "").split()
    )
    assert "#0a0b" not in styles and "DejaVu" not in styles
    assert all("var(--font)" in element.get("style") for element in elements if element.tag == "text")


def test_text_stays_text_and_nothing_but_the_drawing_is_left(elements):
    assert [element.text for element in elements if element.tag == "text"].count("price & <b> $x$") == 2
    assert {element.tag for element in elements} <= {"svg", "g", "defs", "clipPath", "rect", "path", "use", "text"}


def test_the_same_figure_is_the_same_bytes():
    assert draw() == draw() != draw("other")
