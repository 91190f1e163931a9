"""Names that try to become elements, attributes, scripts, template code, or text that lies about itself."""

from __future__ import annotations

PARTS = [
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "\" onerror=\"alert(1)", "' onmouseover='alert(1)", "\"><svg onload=alert(1)>", "<svg/onload=alert(1)//",
    "javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "<a href=javascript:alert(1)>x</a>",
    "<iframe src=//evil.example></iframe>", "<style>*{display:none}</style>",
    "</style><script>alert(1)</script>", "<!-- ", "--><b>", "]]><b>", "<![CDATA[<b>", "{{ 7 * 7 }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}", "{# hidden #}",
    "{{''.__class__}}", "${7*7}", "<%= 7 * 7 %>", "\u202egnp.exe", "a\u200bb\u2066c\u2069", "\x00", "a\x00b",
    "\x1b[31mred", "\r\nX: y", "line\nbreak", "tab\tand\x0bmore", "\ud800", "\udfff\ud800", "\ufeffbom",
    "&lt;b&gt;", "&#60;b&#62;", "&", "&amp;amp;", "`onclick=alert(1)`", "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>", "<link rel=stylesheet href=//e.example>",
    "<object data=//evil.example>", "<embed src=//evil.example>", "<form action=//evil.example><input>",
    "<math><mtext></math>", "<use href=//evil.example#x>", "<image href=//evil.example/x.png>",
    "' autofocus onfocus='alert(1)", "\" style=\"color:red", "\" class=\"face", "\" id=\"main",
    "<details open ontoggle=alert(1)>", "<body onload=alert(1)>", "<x>" * 50, "\"" * 200, "'" * 200,
    "a" * 10_000, "\u202e" * 300, "<b>" * 3000, "é" * 255, "😀" * 64, "％００", "../../../etc/passwd",
    "C:\\Windows", "-o", "=1+1", "name with spaces", "http://evil.example/x.png", "//evil.example",
    "url(http://evil.example)", "</td></tr></table>", "</svg>", "</title><script>alert(1)</script>",
    "</textarea>", "</noscript><img src=x onerror=alert(1)>", "<plaintext>", "<xmp>",
]  # fmt: skip


def hostile_names(count=500):
    """Return so many different names: every part alone, then joined with others."""
    names = list(PARTS)
    number = 0
    while len(names) < count:
        first, second = PARTS[number % len(PARTS)], PARTS[(number * 7 + 3) % len(PARTS)]
        names.append(f"{first[:400]}{number}{second[:400]}")
        number += 1
    return names[:count]
