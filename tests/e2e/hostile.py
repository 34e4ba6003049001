"""Texts that mislead whoever splits a dump at newlines, spaces or quotes."""

HOSTILE_COMMENTS = [
    b"COMMIT",
    b"-j",
    b"two\nlines",
    b"\nCOMMIT\n*nat\n:EVIL ACCEPT [5:6]\n[7:8] -A EVIL -j DROP\nCOMMIT\n",
    b'" -j DROP\n[7:8] -A INPUT -m comment --comment "',
    b"\n# Table `nat' is incompatible, use 'nft' tool.\n",
    b"  doubled  and trailing  ",
    b'say "hi", it\'s \\ fine\\',
    b"\\n",
    b"carriage\r\nreturn\ttab",
    bytes(range(1, 128)),
    bytes(range(128, 256)),
    "naïve ☃ 🔥".encode(),
    b"\xc0\x80 \xed\xa0\x80 \xe2\x98 \xf4\x90\x80\x80",
    b"\xfe",
    b"\xff",
]
HOSTILE_CHAINS = [b"COMMIT", b"*x", b"#x", b":x", b'a"b', b"x[1:2]", b"[1:2]", b"\\", b"\x80", b"\x81"]
