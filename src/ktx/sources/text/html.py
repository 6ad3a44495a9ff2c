"""HTML as Markdown, without scripts, navigation, forms, and whatever a browser would not show."""

import re
from html import unescape

from html_to_markdown import ConversionError, ConversionOptions, PreprocessingOptions, convert

from ktx.sources.markdown import title_of
from ktx.sources.text.converted import Converted, Unreadable

_TITLE = re.compile(r"<title[^>]*>([^<]{0,1000})</title>", re.IGNORECASE)
_NO_IMAGE = re.compile(r"!\[([^\]\n]*)\]\((?:<?\s*(?:data|blob|file):[^)]*)\)", re.IGNORECASE)
_NO_LINK = re.compile(
    r"(?<!!)\[([^\]\n]*)\]\(\s*<?\s*(?:javascript|vbscript|data|file|blob):[^)]*\)+", re.IGNORECASE
)


def read_html(html: str) -> Converted:
    """Give an HTML document, or a piece of one, as Markdown.

    Raises:
        Unreadable: it is nested too deeply to be converted.
    """
    options = ConversionOptions(
        extract_metadata=False, escape_misc=False, hidden_content="drop", preprocessing=PreprocessingOptions()
    )
    try:
        answer = convert(html, options)
    except ConversionError as error:
        raise Unreadable("is HTML that cannot be converted") from error
    content = (answer.content or "").strip()
    is_cut = any("depth" in str(warning.kind) for warning in answer.warnings)
    if is_cut and not content:
        raise Unreadable("is HTML that is nested too deeply")
    text = _NO_LINK.sub(r"\1", _NO_IMAGE.sub(r"\1", content))
    stated = _TITLE.search(html)
    title = " ".join(unescape(stated[1]).split()) if stated else ""
    notes = ("what is nested too deeply was left out",) if is_cut else ()
    return Converted(title=title or title_of(text), markdown=f"{text}\n" if text else "", notes=notes)
