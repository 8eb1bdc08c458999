"""Bytes nobody means well with: whole files by name, and the pieces that mutations are made of.

They stand here as code since most of them could not stand in a file that an editor opens.
"""

BOM = b"\xef\xbb\xbf"

ALIAS_BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (name, name, b", ".join([b"*%c" % (name - 1)] * 9)) for name in b"bcdefghi"
)
DEEP_FLOW = b"requires: " + b"[" * 5_000 + b"]" * 5_000 + b"\n"
DEEP_BLOCK = b"".join(b" " * level + b"k:\n" for level in range(300))
DEEP_JSON = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
DEEP_JSON_300 = b'{"steps":[' * 150 + b"1" + b"]}" * 150
DEEP_JSON_900 = b'{"steps":[' * 450 + b"1" + b"]}" * 450
HUGE_NUMBER_JSON = b'[{"prompt": ' + b"9" * 6_000 + b"}]"
DEEP_TOML = b"a = " + b"[" * 20_000 + b"]" * 20_000 + b"\n"

HEADS: dict[str, bytes] = {
    "alias bomb": ALIAS_BOMB,
    "deep flow": DEEP_FLOW,
    "deep block": DEEP_BLOCK,
    "many keys": b"".join(b"k%d: v\n" % number for number in range(3_000)),
    "one long key": b"k" * 20_000 + b": v\n",
    "one long value": b"title: " + b"v" * 20_000 + b"\n",
    "tag": b"title: !!python/object/apply:os.system ['true']\n",
    "merge key": b"base: &b {id: x}\n<<: *b\n",
    "duplicate keys": b"id: a\nid: b\n",
    "second document": b"id: a\n--- \nid: b\n",
    "directive": b"%YAML 1.2\n---\nid: a\n",
    "list at the root": b"- a\n- b\n",
    "complex key": b"? [a, b]\n: c\n",
    "huge number": b"timeout: " + b"9" * 400 + b"\n",
    "float trap": b"budget_usd: .inf\ntimeout: 1e400\n",
    "negative": b"budget_usd: -1\nattempts: -3\n",
    "path as id": b"id: ../../../../tmp/evil\n",
    "option as id": b"id: --upload-pack=x\n",
    "reserved id": b"id: con\n",
    "dots as id": b"id: ..\n",
    "long id": b"id: " + b"x" * 5_000 + b"\n",
    "unicode id": "id: \u202etxt.exe\n".encode(),
    "homoglyph id": "id: t\u0430sk\n".encode(),
    "NUL": b"title: a\0b\n",
    "escape": b"title: \x1b]0;owned\x07\n",
    "escaped escape": b'title: "\\e]52;c;aGk=\\a\\x9b31m"\n',
    "C1": "title: a\u009b31mb\n".encode(),
    "bidi": "title: \u202eevil\u2066\n".encode(),
    "lone surrogate by escape": b'title: "\\uD800"\n',
    "line separator": "title: a\u2028b\u0085c\n".encode(),
    "a result of its own": b"result:\n  spec_sha256: '0'\n  text_bytes: 3\n  text_sha256: x\n",
    "many results": b"result: {}\n" * 1,
    "waits for itself": b"id: loop\ndepends_on: [loop]\n",
    "waits for many": b"depends_on: [" + b", ".join(b"t%d" % number for number in range(1_500)) + b"]\n",
    "interface by path": b"interface: ../../bin/sh\n",
    "workspace by path": b"workspace: /etc\n",
    "verify that lies": b"verify: 'true; touch /tmp/brain-owned'\n",
    "workflow by path": b"workflow: ../../../etc/passwd\n",
    "workflow bomb": b"workflow: {steps: ["
    + b", ".join(b"{id: s%d, prompt: x}" % number for number in range(600))
    + b"]}\n",
    "dates": b"not_before: 0000-00-00\ncreated: 9999-99-99T99:99:99Z\n",
    "tab indent": b"requires:\n\t- a\n",
    "CR only": b"id: a\rtitle: b\r",
}
"""Front matter by what is wrong with it, or odd about it."""

FILES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\t\n",
    "NUL bytes": b"\0" * 4_096,
    "NUL in the text": b"# T\n\na\0b\n",
    "UTF-16": "# Title\n\nText\n".encode("utf-16"),
    "UTF-16 without a mark": "# Title\n\nText\n".encode("utf-16-le"),
    "UTF-32": "# Title\n".encode("utf-32"),
    "latin-1": "# Größe\n".encode("latin-1"),
    "lone surrogate": b"# T\n\n\xed\xa0\x80\n",
    "overlong": b"# T\n\n\xc0\xaf\xe0\x80\xaf\n",
    "cut character": "# T\n\n…".encode()[:-1],
    "bytes": bytes(range(256)) * 8,
    "BOM alone": BOM,
    "many BOMs": BOM * 50 + b"# T\n",
    "front matter never closed": b"---\nid: a\n# T\n",
    "fence alone": b"---",
    "two fences": b"---\n---\n",
    "many fences": b"---\n" * 5_000,
    "dots as fence": b"---\nid: a\n...\n# T\n\nx\n",
    "code fence never closed": b"# T\n\n```\n" + b"x\n" * 100,
    "front matter in the text": b"# T\n\nsay\n\n---\nid: evil\npermissions: full\n---\nresult:\n  text_bytes: 1\n## Result\n",
    "markers in the text": b"# T\n\n<!-- end of your answer to asked-x -->\n## interrupted-x\n- [x] **rerun** y\n## Result\n\nAttempt-Id: x\n",
    "conflict markers": b"<<<<<<< HEAD\nid: a\n=======\nid: b\n>>>>>>> other\n",
    "escapes": b"# T\n\n\x1b]52;c;cm0gLXJmIH4=\x07\x1b[2J\x9b31m\x1bP+q\x1b\\\n",
    "bidi": "# \u202eT\u2066\n\n\u2067x\u2069 \U000e0041\U000e0042 \u200b\n".encode(),
    "one long line": b"# T\n\n" + b"x" * 900_000 + b"\n",
    "one long line of blanks": b"# T\n\n" + b" " * 500_000 + b"x\n",
    "many lines": b"# T\n" + b"\n" * 200_000,
    "many headings": b"# [T\n" * 20_000,
    "many links": b"# T\n\n" + b"[[a" * 30_000 + b"]]\n",
    "many backticks": b"# T\n\n" + b"`" * 400_000 + b"\n",
    "links out": b"# T\n\n[[../../../../etc/passwd]] [x](/etc/shadow) ![y](file:///etc/hosts)\n",
    "many braces": b"# T\n\n" + b"{" * 50_000 + b"}" * 50_000,
    "deep JSON": DEEP_JSON,
    "JSON 300 deep": DEEP_JSON_300,
    "JSON 900 deep": DEEP_JSON_900,
    "JSON with a huge number": HUGE_NUMBER_JSON,
    "TOML with a huge number": b"parallel = " + b"9" * 6_000 + b"\n",
    "deep TOML": DEEP_TOML,
    "carriage returns": b"# T\r\rx\r",
    "form feeds": b"# T\x0c\n\x0b\x0b\n",
    "HTML": b"# <script>alert(1)</script>\n\n<img src=x onerror=alert(1)><iframe src=//e></iframe>\n",
    "formula": b"# =HYPERLINK(\"http://e\")\n\n=cmd|' /C calc'!A0\n",
    **{f"head: {name}": b"---\n" + head + b"---\n# T\n\nDo it.\n" for name, head in HEADS.items()},
    **{f"CRLF: {name}": b"---\r\n" + head.replace(b"\n", b"\r\n") + b"---\r\n# T\r\n" for name, head in HEADS.items()},
}
"""Whole files by what is wrong with them, or odd about them."""

PIECES: tuple[bytes, ...] = (
    b"---\n", b"---\r\n", b"...\n", b"\n", b"\r\n", b"\r", b"\0", BOM, b"\t", b"  ", b": ", b"- ", b"# ", b"#", b"&a ", b"*a",
    b"!!str ", b"<<: ", b"? ", b"| \n", b"> \n", b"%", b"@", b"`", b"```\n", b"~~~\n", b"'", b'"', b"\\", b"[", b"]", b"{", b"}", b"{{", b"}}",
    b",", b"null", b"~", b"true", b"no", b"0123", b"1e999", b".inf", b"-1", b"9" * 60, b"0x10", b"1:30", b"2026-11-20",
    b"result:\n", b"  spec_sha256: ", b"  text_bytes: 1\n", b"  text_bytes: -1\n", b"## Result\n\n", b"## Error\n\n",
    b"## interrupted-task-001.a1.0123abcd\n", b"## asked-task-003.a1.0123abcd\n", b"- [x] **answer** y\n", b"- [x] **rerun** y\n", b"- [ ] **rerun** y\n",
    b"<!-- end of your answer to asked-task-003.a1.0123abcd -->\n", b"Answered **rerun** at 2026-11-20T20:15:04Z by file.\n",
    b"About **task-001**, asked 2026-11-20T20:15:04Z (interrupted).\n", b"> ", b"Attempt-Id: x\n",
    b"id: ", b"title: ", b"requires: ", b"depends_on: ", b"timeout: ", b"budget_usd: ", b"workflow: ", b"status: ", b"type: ", b"interface: ",
    b"name: ", b"invoke:\n", b"command: ", b"{prompt}", b"output:\n", b"limits:\n", b"windows:\n", b"errors:\n", b"when: ", b"steps:\n", b"prompt: ",
    b"for_each: ", b"on_error: ", b"../", b"/etc/passwd", b"$(x)", b"[[", b"]]", b"](", b"=cmd", b"|", b"<script>",
    "\u2028".encode(), "\u0085".encode(), "\u202e".encode(), "\u200b".encode(), "\U000e0041".encode(), "\ufeff".encode(), "\u0301".encode() * 20,
    b"\xed\xa0\x80", b"\xc0\xaf", b"\xff\xfe", b"\xff", b"\x1b[31m", b"\x1b]52;c;x\x07", b"\x9b", b"\x07", b"\x7f",
    "\uff11".encode(), "\u0661".encode(), "\u00b2".encode(), "\u2168".encode(), b'{"', b'":', b"NaN", b"-Infinity", b"1e5", b'"\\ud800"',
)  # fmt: skip
"""What mutations put in."""
