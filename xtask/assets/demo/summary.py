"""Reads the service's JSON answer on stdin and says what is in it, or exits with 1.

usage: summary.py PAGES TITLE
"""

import json
import sys

pages = json.load(sys.stdin)["pages"]
lines = [line for page in pages for line in page["lines"]]
words = [word for line in lines for word in line["words"]]
title = lines[0]
print(f"{len(pages)} pages, {len(lines)} lines, {len(words)} words with boxes")
print(f"page 1, line 1: {title['text']!r} at {title['box']}")
if len(pages) != int(sys.argv[1]) or title["text"] != sys.argv[2]:
    sys.exit(f"expected {sys.argv[1]} pages with the title {sys.argv[2]!r}")
if any(box[0] >= box[2] or box[1] >= box[3] for box in (word["box"] for word in words)):
    sys.exit("a word has an empty box")
